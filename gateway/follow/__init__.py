"""Follows containers' event streams into the log, under a lease per project."""
