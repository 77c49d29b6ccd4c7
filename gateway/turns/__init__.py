"""Turns: a prompt from its acceptance to its one end, over restarts of gateways and containers."""
