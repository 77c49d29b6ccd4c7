"""Users' tokens for agents: kept sealed, and the names under which agents read them."""
