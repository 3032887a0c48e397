"""What every layer and loss term returns, computed independently."""
