"""How two programs' values are related, where no layer's declaration says why they differ."""
