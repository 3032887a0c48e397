"""Keras programs (on its torch backend), as the recorder sees them."""
