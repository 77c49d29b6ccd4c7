"""Keeps logs small and gateways' presence known: packing, retention, counting."""
