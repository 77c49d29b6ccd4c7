"""Callers: the user, how they were identified, and the limits of their credential."""

from datetime import UTC, datetime
from typing import Final, Protocol

import attrs
from multidict import CIMultiDictProxy

from gateway.errors import InsufficientRole, TokenLimited
from gateway.identity.roles import Role

#: The only user of a gateway without configured users.
LOCAL_USER: Final = "local"
#: They stand in place of a user id if no user acted (``resolvedBy``), so no user may have them.
RESERVED: Final = frozenset({"rule", "timeout", "container", "gateway"})
MAX_USER_ID: Final = 200


@attrs.frozen(kw_only=True)
class Caller:
    """Who calls. Their roles are limited to ``max_role`` and, unless it is None, to ``projects``."""

    user_id: str
    mode: str
    max_role: Role = Role.ADMIN
    projects: frozenset[str] | None = None
    #: Of the credential.
    expires_at: datetime | None = None
    #: The id of the API token that was used.
    token_id: str | None = None

    def may_see(self, project_id: str) -> bool:
        return self.projects is None or project_id in self.projects

    def check_reach(self, least: Role) -> None:
        """Check a credential for what concerns its user outside one project.

        ``TokenLimited`` if it is limited to projects, ``InsufficientRole`` if it allows less than ``least``.
        """
        if self.projects is not None:
            raise TokenLimited(
                f"This API token is limited to some projects, but this concerns everything of {self.user_id!r}; use a "
                "token without that limit."
            )
        if self.max_role < least:
            raise InsufficientRole(
                f"This API token allows the role {self.max_role.word} at most, and this needs {least.word}.",
                role=self.max_role.word,
                needed=least.word,
            )

    def has_expired(self) -> bool:
        return self.expires_at is not None and datetime.now(UTC) >= self.expires_at


@attrs.frozen(kw_only=True)
class Presented:
    """What a request shows to identify its caller."""

    headers: CIMultiDictProxy[str] = attrs.field(repr=False)
    #: The connection's address.
    peer: str | None
    #: Whether its Host is one of this machine's own names.
    to_loopback: bool

    @property
    def bearer(self) -> str | None:
        """The credential of ``Authorization: Bearer`` (RFC 6750 2.1)."""
        scheme, _, credential = self.headers.get("Authorization", "").partition(" ")
        return credential.strip() or None if scheme.lower() == "bearer" else None

    @property
    def host(self) -> str | None:
        return self.headers.get("Host")

    def cookies(self, name: str) -> list[str]:
        """The values of the cookies of this name (RFC 6265 4.2.1)."""
        pairs = [pair.strip().partition("=") for text in self.headers.getall("Cookie", ()) for pair in text.split(";")]
        return [value for known, _, value in pairs if known == name]


class Mode(Protocol):
    """A way to identify callers."""

    name: str
    #: The credential that it requires, for error messages.
    wants: str

    async def identify(self, presented: Presented) -> Caller | None:
        """The caller; None if the request has no credential of this mode; ``Unauthenticated`` if that is not valid."""


def flaw_of_user_id(user_id: str, *, is_foreign: bool = False) -> str | None:
    """Why this cannot be a user's id, or None. ``is_foreign``: named by a proxy or an issuer."""
    if not 1 <= len(user_id) <= MAX_USER_ID:
        return f"a user id has 1 to {MAX_USER_ID} characters"
    if not user_id.isprintable() or user_id != user_id.strip():
        return "a user id has no control characters, and no spaces at its ends"
    if user_id in RESERVED:
        return f"{user_id!r} is reserved"
    if is_foreign and user_id == LOCAL_USER:
        return f"{LOCAL_USER!r} is the user of the gateway's own machine"
    return None
