"""Reads a container's response: bounded in bytes, and in values before it is parsed."""

import aiohttp
import attrs

from gateway.errors import UpstreamFailed
from gateway.wire.census import Census


@attrs.frozen(kw_only=True)
class AnswerLimit:
    """Limits of a response: bytes, and JSON values."""

    max_bytes: int
    max_values: int


async def read_answer(content: aiohttp.StreamReader, limit: AnswerLimit) -> bytes:
    """The whole response; ``UpstreamFailed`` if it exceeds the limit."""
    pieces: list[bytes] = []
    size = 0
    async for piece in content.iter_any():
        size += len(piece)
        if size > limit.max_bytes:
            raise UpstreamFailed(f"The container's answer has more than {limit.max_bytes} bytes.")
        pieces.append(piece)
    raw = b"".join(pieces)
    if Census(raw).has_more_than(limit.max_values):
        raise UpstreamFailed(f"The container's answer has more than {limit.max_values} values.")
    return raw
