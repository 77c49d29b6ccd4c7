"""What keeps logs small and gateways' presence known: packing, retention, counting."""
