"""Whose credential an agent's process or session runs with, and how it gets there and away again."""
