"""Streams the log's events to clients: from a cursor, live, in each dialect."""
