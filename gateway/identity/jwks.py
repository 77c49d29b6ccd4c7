"""The keys of a JWT issuer (JWKS, RFC 7517): fetched within limits, kept while the issuer is unreachable."""

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Any, Final

import aiohttp
import jwt

from gateway.errors import IdentityUnavailable
from gateway.wire.codec import DecodeError, parse_json

logger = logging.getLogger(__name__)

TIMEOUT_SECONDS: Final = 5.0
MAX_BYTES: Final = 262_144
MAX_KEYS: Final = 100
#: Keys are fetched again after this time, so that withdrawn keys expire.
FRESH_SECONDS: Final = 3600.0
#: The minimum time between fetches, because tokens can name arbitrary keys.
PAUSE_SECONDS: Final = 10.0


class KeySet:
    """An issuer's keys by id."""

    def __init__(self, url: str, algorithms: Sequence[str]) -> None:
        self._url = url
        self._algorithms = algorithms
        self._keys: dict[str | None, jwt.PyJWK] = {}
        self._fetched_at = self._tried_at = float("-inf")
        self._turn = asyncio.Lock()

    async def find(self, key_id: str | None) -> jwt.PyJWK | None:
        """The key with this id; a token without an id uses the only key.

        ``IdentityUnavailable`` if the keys have never been fetched.
        """
        now = time.monotonic()
        if now - self._fetched_at > FRESH_SECONDS or self._known(key_id) is None:
            await self._refresh()
        if not self._keys:
            raise IdentityUnavailable("The keys of the JWT issuer cannot be fetched now.")
        return self._known(key_id)

    def _known(self, key_id: str | None) -> jwt.PyJWK | None:
        if key_id is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(key_id)

    async def _refresh(self) -> None:
        """Fetch the keys, once for all waiting callers and not too often. If that fails, the known ones stay."""
        began = time.monotonic()
        async with self._turn:
            if self._tried_at > began or time.monotonic() - self._tried_at < PAUSE_SECONDS:
                return
            self._tried_at = time.monotonic()
            try:
                self._keys = await self._fetch()
                self._fetched_at = time.monotonic()
            except (aiohttp.ClientError, TimeoutError, DecodeError, ValueError) as exc:
                reason = str(exc) or type(exc).__name__
                logger.warning("an issuer's keys cannot be fetched", extra={"url": self._url, "error": reason})

    async def _fetch(self) -> dict[str | None, jwt.PyJWK]:
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
        async with (
            aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()) as http,
            http.get(self._url, headers={"Accept": "application/json"}, allow_redirects=False) as response,
        ):
            if response.status != 200:
                raise ValueError(f"the response's status is {response.status}")
            body = bytearray()
            async for piece in response.content.iter_any():
                body += piece
                if len(body) > MAX_BYTES:
                    raise ValueError(f"the response has more than {MAX_BYTES} bytes")
        return self._read(parse_json(bytes(body)))

    def _read(self, document: Any) -> dict[str | None, jwt.PyJWK]:
        entries = document.get("keys") if isinstance(document, dict) else None
        if not isinstance(entries, list) or len(entries) > MAX_KEYS:
            raise ValueError("the response is not a set of keys")
        found = {}
        for entry in entries:
            # Keys for other uses and of unsupported types are skipped.
            if isinstance(entry, dict) and entry.get("use", "sig") == "sig" and entry.get("kty") != "oct":
                try:
                    key = jwt.PyJWK(entry)
                except (jwt.PyJWTError, ValueError, TypeError, KeyError):
                    continue
                found[key.key_id] = key
        if not found:
            raise ValueError("the response has no usable key")
        return found
