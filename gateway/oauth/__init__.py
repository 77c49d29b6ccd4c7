"""Connecting accounts: logins by several flows, and tokens kept fresh. The OAuth core does no I/O; aiohttp is around
it.
"""
