"""Lists that come in pages."""

from collections.abc import Mapping
from typing import Any

from acp_session_gateway_client import Client, Unreachable


async def every(client: Client, path: str, name: str, query: Mapping[str, str]) -> list[Any]:
    """All pages of a list."""
    found: list[Any] = []
    after: str | None = None
    while True:
        page = await client.call("GET", path, query={"limit": "200", **query, **({"after": after} if after else {})})
        if not isinstance(page, dict) or name not in page:
            raise Unreachable(f"The server at {client.url} is not a gateway.")
        found += page[name]
        after = page["next"]
        if after is None:
            return found
