"""TODO oauth/protocol."""
