"""Processes: listening sockets, one gateway's life, several workers on a port."""
