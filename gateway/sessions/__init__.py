"""Sessions, their turns, and the permissions that agents ask for."""
