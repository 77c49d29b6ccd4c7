"""A container's answer to a call, read whole: only so much of it, and counted before anything is made of it."""

import aiohttp
import attrs

from gateway.errors import UpstreamFailed
from gateway.wire.census import Census


@attrs.frozen(kw_only=True)
class AnswerLimit:
    """How large an answer may be, and how many JSON values it may have."""

    max_bytes: int
    max_values: int


async def read_answer(content: aiohttp.StreamReader, limit: AnswerLimit) -> bytes:
    """All of it; ``UpstreamFailed`` where it is too much."""
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
