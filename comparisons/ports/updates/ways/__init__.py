"""What optimisers do, rightly and with the mistakes that people make of them."""
