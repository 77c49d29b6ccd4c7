"""Projects: where their containers are, whose they are, what their limits are, and what leaves with them."""
