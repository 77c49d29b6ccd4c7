"""Connecting accounts: logins by several flows, and tokens kept fresh. A core without I/O, aiohttp around it."""
