"""HTTP calls to providers over aiohttp; each returns a reply or no reply."""

import asyncio
import email.utils
import logging
from datetime import UTC, datetime
from typing import Any, Self

import aiohttp
from aiohttp import hdrs
from multidict import CIMultiDictProxy
from yarl import URL

from gateway.oauth.protocol.replies import NoReply, Reply, seconds
from gateway.oauth.protocol.requests import Request
from gateway.wire.media import media_type

logger = logging.getLogger(__name__)

#: Providers' responses are much shorter.
MAX_ANSWER = 262_144
CONNECT_SECONDS = 5.0
MAX_RETRY_AFTER = 3600.0


class Edge:
    """The client for providers; an async context manager.

    It follows no redirects (they would forward secrets), uses no proxy of the environment, keeps no cookies, and reads
    at most ``MAX_ANSWER`` bytes of a response.
    """

    def __init__(self, *, timeout: float) -> None:
        self._timeout = timeout
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=100, limit_per_host=20),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=self._timeout, sock_connect=min(CONNECT_SECONDS, self._timeout)),
            trust_env=False,
            auto_decompress=False,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._http is not None:
            await self._http.close()

    async def send(self, request: Request) -> Reply | NoReply:
        """The reply; raises nothing."""
        assert self._http is not None, "used outside its context"
        headers = {hdrs.ACCEPT_ENCODING: "identity", hdrs.USER_AGENT: "acp-gateway", **request.headers}
        try:
            async with self._http.request(
                request.method,
                URL(request.url, encoded=True),
                data=request.body or None,
                headers=headers,
                allow_redirects=False,
            ) as response:
                return await _read(response)
        except aiohttp.ConnectionTimeoutError:
            return NoReply(reason="the provider could not be reached in time", sent=False)
        except TimeoutError:
            return NoReply(reason="the provider did not answer in time", sent=True)
        except aiohttp.ClientConnectorCertificateError:
            return NoReply(reason="the provider's certificate is not valid", sent=False)
        except aiohttp.ClientConnectorDNSError:
            return NoReply(reason="the provider's name could not be resolved", sent=False)
        except aiohttp.ClientConnectorError:
            return NoReply(reason="the provider could not be reached", sent=False)
        except (aiohttp.ClientError, asyncio.IncompleteReadError, OSError, ValueError) as exc:
            logger.info("provider gave no answer", extra={"host": URL(request.url).host, "error": type(exc).__name__})
            return NoReply(reason="the provider broke off its answer", sent=True)


async def _read(response: aiohttp.ClientResponse) -> Reply | NoReply:
    if response.headers.get(hdrs.CONTENT_ENCODING, "identity").lower() not in ("identity", ""):
        return NoReply(reason="the provider compresses its answer, which it was not asked to", sent=True)
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > MAX_ANSWER:
            return NoReply(reason="the provider's answer is too long", sent=True)
    return Reply(
        status=response.status,
        content_type=media_type(response.headers.get("Content-Type")),
        body=bytes(body),
        retry_after=_retry_after(response.headers),
        date=_date(response.headers.get(hdrs.DATE)),
    )


def _retry_after(headers: CIMultiDictProxy[str]) -> float | None:
    told: Any = headers.get(hdrs.RETRY_AFTER)
    wait = seconds(told)
    if wait is None and (at := _date(told)) is not None:
        wait = (at - (_date(headers.get(hdrs.DATE)) or datetime.now(UTC))).total_seconds()
    return min(wait, MAX_RETRY_AFTER) if wait is not None and wait > 0 else None


def _date(text: str | None) -> datetime | None:
    try:
        at = email.utils.parsedate_to_datetime(text) if text else None
    except (ValueError, TypeError):
        return None
    return at if at is None or at.tzinfo else at.replace(tzinfo=UTC)
