"""ACP gateway: one HTTP server in front of the containers where coding agents run."""

__version__ = "0.1.0"
