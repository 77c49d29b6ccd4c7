"""OAuth as its RFCs have it: requests and replies as values, with no input or output."""
