"""TODO turns."""
