"""What people do with a running gateway from a terminal: ``acp-gateway project | agent | session | prompt | …``."""
