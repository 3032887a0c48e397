"""Reading and writing files, whoever made them."""
