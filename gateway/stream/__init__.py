"""The log's events, streamed to clients: from a cursor, live, in each dialect."""
