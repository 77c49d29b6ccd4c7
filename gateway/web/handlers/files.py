"""Static files for browsers: read once, revalidated by ETag, with a strict content security policy."""

import gzip
import hashlib
import mimetypes
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Final

import attrs
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

PACKAGE: Final = Path(__file__).parents[1]
#: Pages may load what this gateway serves, and pictures that their scripts have read.
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; font-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_TYPES = {
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".LICENSE": "text/plain",
    ".webmanifest": "application/manifest+json",
}


@attrs.frozen(kw_only=True)
class File:
    """A file, ready to send."""

    body: bytes = attrs.field(repr=False)
    packed: bytes = attrs.field(repr=False)
    content_type: str
    etag: str

    @classmethod
    def read(cls, path: Path) -> "File":
        guessed = _TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        return cls.of(path.read_bytes(), guessed)

    @classmethod
    def of(cls, body: bytes, content_type: str) -> "File":
        etag = hashlib.sha256(body).hexdigest()[:32]
        return cls(body=body, packed=gzip.compress(body, mtime=0), content_type=content_type, etag=etag)

    def headers(self, policy: str) -> Mapping[str, str]:
        is_text = self.content_type.startswith("text/") or self.content_type.endswith("json")
        return {
            hdrs.CONTENT_TYPE: self.content_type + ("; charset=utf-8" if is_text else ""),
            # Revalidated each time, so that a new page never runs with an old script.
            hdrs.CACHE_CONTROL: "no-cache",
            # Weak, because it is the same for the compressed file.
            hdrs.ETAG: f'W/"{self.etag}"',
            hdrs.VARY: hdrs.ACCEPT_ENCODING,
            "Content-Security-Policy": policy,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
        }


def file(name: str, *, policy: str = POLICY) -> Handler:
    """A handler that sends the file ``name`` of this package."""

    async def send(request: web.Request) -> web.StreamResponse:
        return respond(request, _read(name), policy=policy)

    return send


def respond(request: web.Request, found: File, *, policy: str = POLICY) -> web.Response:
    """The file, or 304 if the browser has it."""
    known = request.if_none_match or ()
    if any(tag.value in (found.etag, "*") for tag in known):
        return web.Response(status=304, headers={hdrs.ETAG: f'W/"{found.etag}"', hdrs.CACHE_CONTROL: "no-cache"})
    headers = dict(found.headers(policy))
    if "gzip" not in request.headers.get(hdrs.ACCEPT_ENCODING, "") or len(found.packed) >= len(found.body):
        return web.Response(body=found.body, headers=headers)
    return web.Response(body=found.packed, headers=headers | {hdrs.CONTENT_ENCODING: "gzip"})


#: Types that a browser shows without running anything in them. SVG is none of them.
_SHOWN: Final = frozenset(
    {
        *("image/png", "image/jpeg", "image/gif", "image/webp", "image/avif"),
        *("audio/mpeg", "audio/mp4", "audio/aac", "audio/ogg", "audio/wav", "audio/webm", "audio/flac"),
    }
)
_AS_TEXT: Final = {"text/plain": "text/plain; charset=utf-8", "application/json": "application/json"}
#: Even as a page of its own it runs nothing, and has an origin of its own.
_FOREIGN_POLICY: Final = "default-src 'none'; frame-ancestors 'none'; sandbox"
_YEAR: Final = 31_536_000


def foreign(request: web.Request, data: bytes, media_type: str, digest: str, *, is_lasting: bool) -> web.Response:
    """What an agent has said, or 304. Another type than a known harmless one is a download of bytes.

    ``is_lasting``: its address is of these bytes alone, so that it need not be asked for again.
    """
    content_type = media_type if media_type in _SHOWN else _AS_TEXT.get(media_type, "application/octet-stream")
    headers = {
        # Access is checked for each caller.
        hdrs.CACHE_CONTROL: f"private, max-age={_YEAR}, immutable" if is_lasting else "private, no-cache",
        hdrs.VARY: "Authorization, Cookie",
        hdrs.ETAG: f'"{digest}"',
        "Content-Security-Policy": _FOREIGN_POLICY,
        "Cross-Origin-Resource-Policy": "same-origin",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
    }
    if any(tag.value in (digest, "*") for tag in request.if_none_match or ()):
        return web.Response(status=304, headers=headers)
    headers[hdrs.CONTENT_TYPE] = content_type
    if media_type not in _SHOWN:
        headers[hdrs.CONTENT_DISPOSITION] = "attachment"
    return web.Response(body=data, headers=headers)


@lru_cache
def _read(name: str) -> File:
    return File.read(PACKAGE / name)
