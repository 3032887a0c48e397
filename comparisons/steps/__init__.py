"""Both engines through the same steps, one after the other, and where they part."""
