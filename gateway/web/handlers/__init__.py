"""One file a noun, one function a route: whose, what, remember, answer."""
