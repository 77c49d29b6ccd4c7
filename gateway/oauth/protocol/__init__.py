"""OAuth by its RFCs: requests and replies as values, without I/O."""
