"""What was measured as tables and figures, and on which machine."""
