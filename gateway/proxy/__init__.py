"""The generic core: HTTP, event streams and WebSockets over one hop, without projects or a database."""
