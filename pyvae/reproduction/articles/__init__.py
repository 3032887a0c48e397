"""The write-ups that can be reproduced."""
