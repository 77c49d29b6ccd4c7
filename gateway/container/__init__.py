"""A project container's ACP port, as methods and values."""
