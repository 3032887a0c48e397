"""Which stage, parameter and buffer of one program is which of the other."""
