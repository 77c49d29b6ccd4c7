"""TODO projects."""
