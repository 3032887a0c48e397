"""What a recorded program is given of another trace: its start and its chance."""
