"""Whose credential an agent's process or session runs with; gives and withdraws it."""
