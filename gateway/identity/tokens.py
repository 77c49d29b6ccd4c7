"""API tokens: made for a user, shown once, stored as a digest, limited, expiring, revocable.

A token has 256 random bits, so a plain SHA-256 is enough.
"""

import hashlib
import hmac
import logging
import re
import secrets
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import attrs

from gateway.db.pool import Database, Row
from gateway.errors import GatewayError, TokenNotFound, Unauthenticated
from gateway.identity.caller import Caller, Presented
from gateway.identity.roles import Role
from gateway.wire.bounded import Bounded
from gateway.wire.hosts import parse_host
from gateway.wire.times import timestamp

logger = logging.getLogger(__name__)

PREFIX: Final = "acpgw_"
#: How long a token is cached, and so how long a revocation may take.
REMEMBER_SECONDS: Final = 1.0
MAX_REMEMBERED: Final = 10_000
#: The precision of the time of last use, which is not written for every request.
USE_SECONDS: Final = 300.0
MAX_TOKEN: Final = 200
MAX_COOKIES: Final = 10
_ID: Final = re.compile("tok_[0-9a-f]{12}")


@attrs.frozen(kw_only=True)
class Token:
    """A stored token, without its secret text."""

    id: str
    user_id: str
    name: str | None
    max_role: Role
    #: None: all of the user's.
    projects: frozenset[str] | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    digest: bytes = attrs.field(repr=False)
    #: The digest of the cookie that it requires; None: none.
    cookie: bytes | None = attrs.field(repr=False)

    @classmethod
    def from_row(cls, row: Row) -> "Token":
        values = {field.name: row[field.name] for field in attrs.fields(cls)}
        projects = None if row["projects"] is None else frozenset(row["projects"])
        return cls(**values | {"max_role": Role.named(row["max_role"]), "projects": projects})

    def flaw(self) -> str | None:
        """Why it is not valid, or None."""
        if self.revoked_at is not None:
            return f"was revoked at {timestamp(self.revoked_at)}"
        if self.expires_at is not None and self.expires_at <= datetime.now(UTC):
            return f"expired at {timestamp(self.expires_at)}"
        return None


@attrs.frozen(kw_only=True)
class NewToken:
    """The properties of a token to create."""

    user_id: str
    name: str | None = None
    max_role: Role = Role.ADMIN
    projects: frozenset[str] | None = None
    lifetime: timedelta | None = None


class Tokens:
    """All tokens of one database."""

    name = "tokens"
    wants = f"an API token (Authorization: Bearer {PREFIX}…)"

    def __init__(self, database: Database) -> None:
        self._database = database
        #: By digest, with until when it may be taken for the truth; oldest first.
        self._remembered: Bounded[bytes, tuple[Token, float]] = Bounded(MAX_REMEMBERED)

    async def create(self, new: NewToken) -> tuple[Token, str]:
        """The stored token, and its secret text, which cannot be read again."""
        text = new_text()
        row = await self._database.fetch_one(
            "insert_api_token",
            id=new_token_id(),
            user_id=new.user_id,
            name=new.name,
            digest=digest_of(text),
            max_role=new.max_role.word,
            projects=None if new.projects is None else sorted(new.projects),
            seconds=None if new.lifetime is None else new.lifetime.total_seconds(),
        )
        assert row is not None
        return Token.from_row(row), text

    async def replace(self, user_id: str, name: str, text: str, *, former: Token | None) -> None:
        """Create a token with this ``text``, in place of the user's tokens of this name and of ``former``."""
        await self._database.execute(
            "replace_api_tokens",
            id=new_token_id(),
            user_id=user_id,
            name=name,
            digest=digest_of(text),
            max_role=Role.ADMIN.word,
            former_id=None if former is None else former.id,
        )

    async def list_all(self, user_id: str | None = None) -> list[Token]:
        """All tokens, or one user's, oldest first."""
        rows = await self._database.fetch_all("list_api_tokens", user_id=user_id)
        return [Token.from_row(row) for row in rows]

    async def revoke(self, token_id: str) -> Token:
        """Revoke a token; safe to repeat."""
        row = await self._database.fetch_one("revoke_api_token", id=token_id) if _ID.fullmatch(token_id) else None
        if row is None:
            raise TokenNotFound(f"There is no token {token_id!r}.")
        return Token.from_row(row)

    async def identify(self, presented: Presented) -> Caller | None:
        text = presented.bearer
        if text is None or not text.startswith(PREFIX):
            return None
        token = await self.find(text)
        flaw = "is unknown" if token is None else token.flaw()
        if token is None or flaw is not None:
            raise Unauthenticated(f"This API token {flaw}.", error="invalid_token")
        if token.cookie is not None and not _is_among(token.cookie, presented.cookies(cookie_name(presented.host))):
            reason = "This API token is valid only in the browser that was signed in; its cookie is missing here."
            raise Unauthenticated(reason, error="invalid_token")
        return Caller(
            user_id=token.user_id,
            mode=self.name,
            max_role=token.max_role,
            projects=token.projects,
            expires_at=token.expires_at,
            token_id=token.id,
        )

    async def find(self, text: str) -> Token | None:
        """The token with this text, valid or not."""
        if len(text) > MAX_TOKEN:
            return None
        digest = digest_of(text)
        known = self._remembered.get(digest)
        if known is not None and known[1] > time.monotonic():
            return known[0]
        row = await self._database.fetch_one("find_api_token", digest=digest)
        if row is None or not hmac.compare_digest(row["digest"], digest):
            return None
        token = Token.from_row(row)
        if token.flaw() is None:
            await self._note_use(token)
        self._remembered[digest] = (token, time.monotonic() + REMEMBER_SECONDS)
        return token

    async def _note_use(self, token: Token) -> None:
        now = datetime.now(UTC)
        if token.last_used_at is not None and now - token.last_used_at < timedelta(seconds=USE_SECONDS):
            return
        try:
            await self._database.execute("note_api_token_use", id=token.id, seconds=USE_SECONDS)
        except GatewayError as exc:
            logger.warning("the use of a token is not noted", extra={"token": token.id, "error": str(exc)})


def new_text() -> str:
    """The secret text of a new token."""
    return PREFIX + secrets.token_urlsafe(32)


def new_token_id() -> str:
    return f"tok_{secrets.token_hex(6)}"


def cookie_name(host: str | None) -> str:
    """The sign-in cookie's name. It has the port, because browsers send cookies to all ports of a host."""
    named = parse_host(host or "")
    return "acp_browser" if named is None or named.port is None else f"acp_browser_{named.port}"


def _is_among(digest: bytes, cookies: Sequence[str]) -> bool:
    # Servers on other ports may have set cookies of the same name.
    return any(hmac.compare_digest(digest, digest_of(cookie)) for cookie in cookies[:MAX_COOKIES])


def digest_of(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
