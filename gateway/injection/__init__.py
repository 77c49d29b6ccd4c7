"""TODO injection."""
