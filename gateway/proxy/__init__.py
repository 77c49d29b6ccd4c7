"""The generic core: HTTP, event streams and WebSockets through one hop; knows no project and no database."""
