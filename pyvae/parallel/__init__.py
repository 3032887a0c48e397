"""Jobs over processes and machines."""
