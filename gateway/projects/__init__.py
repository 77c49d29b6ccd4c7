"""Projects: their containers' addresses, owners and limits, and what is deleted with them."""
