"""TODO permissions."""
