"""Users' credentials for agents: stored sealed, and how agents read them."""
