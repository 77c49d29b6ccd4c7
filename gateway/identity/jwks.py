"""The keys of an issuer of JWTs (JWKS, RFC 7517): fetched within limits, remembered while the issuer is away."""

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
#: Keys are looked for anew after this, so that one that the issuer has taken back is not good for ever.
FRESH_SECONDS: Final = 3600.0
#: No two fetches are closer: a token may name any key, and must not make us ask the issuer each time.
PAUSE_SECONDS: Final = 10.0


class KeySet:
    """An issuer's keys, by their id."""

    def __init__(self, url: str, algorithms: Sequence[str]) -> None:
        self._url = url
        self._algorithms = algorithms
        self._keys: dict[str | None, jwt.PyJWK] = {}
        self._fetched_at = self._tried_at = float("-inf")
        self._turn = asyncio.Lock()

    async def find(self, key_id: str | None) -> jwt.PyJWK | None:
        """The key of this id; a token without one is of the only key that there is.

        ``IdentityUnavailable`` where the issuer has never told its keys.
        """
        now = time.monotonic()
        if now - self._fetched_at > FRESH_SECONDS or self._known(key_id) is None:
            await self._refresh()
        if not self._keys:
            raise IdentityUnavailable("The issuer of tokens cannot be asked for its keys just now.")
        return self._known(key_id)

    def _known(self, key_id: str | None) -> jwt.PyJWK | None:
        if key_id is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(key_id)

    async def _refresh(self) -> None:
        """Fetch the keys, one caller for all who wait, and not too often; what is known stays where that fails."""
        began = time.monotonic()
        async with self._turn:
            if self._tried_at > began or time.monotonic() - self._tried_at < PAUSE_SECONDS:
                return
            self._tried_at = time.monotonic()
            try:
                self._keys = await self._fetch()
                self._fetched_at = time.monotonic()
            except (aiohttp.ClientError, TimeoutError, DecodeError, ValueError) as exc:
                logger.warning("an issuer's keys cannot be fetched", extra={"url": self._url, "error": _reason(exc)})

    async def _fetch(self) -> dict[str | None, jwt.PyJWK]:
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
        async with (
            aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()) as http,
            http.get(self._url, headers={"Accept": "application/json"}, allow_redirects=False) as response,
        ):
            if response.status != 200:
                raise ValueError(f"the answer's status is {response.status}")
            body = bytearray()
            async for piece in response.content.iter_any():
                body += piece
                if len(body) > MAX_BYTES:
                    raise ValueError(f"the answer has more than {MAX_BYTES} bytes")
        return self._read(parse_json(bytes(body)))

    def _read(self, document: Any) -> dict[str | None, jwt.PyJWK]:
        entries = document.get("keys") if isinstance(document, dict) else None
        if not isinstance(entries, list) or len(entries) > MAX_KEYS:
            raise ValueError("the answer is no set of keys")
        found = {}
        for entry in entries:
            # A set may hold keys for other uses and of kinds that we do not take: they are passed over.
            if isinstance(entry, dict) and entry.get("use", "sig") == "sig" and entry.get("kty") != "oct":
                try:
                    key = jwt.PyJWK(entry)
                except (jwt.PyJWTError, ValueError, TypeError, KeyError):
                    continue
                found[key.key_id] = key
        if not found:
            raise ValueError("the answer has no key that can be used")
        return found


def _reason(exc: Exception) -> str:
    return str(exc) or type(exc).__name__
