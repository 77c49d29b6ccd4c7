"""The far side: what a project container speaks on its ACP port, as methods and values."""
