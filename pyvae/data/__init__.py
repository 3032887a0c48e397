"""Images, toy points and where they are read from."""
