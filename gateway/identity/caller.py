"""Callers: who asks, how that was established, and what the credential they came with allows at most."""

from datetime import UTC, datetime
from typing import Final, Protocol

import attrs
from multidict import CIMultiDictProxy

from gateway.errors import InsufficientRole, TokenLimited
from gateway.identity.roles import Role

#: The one user where no operator has said who there are.
LOCAL_USER: Final = "local"
#: Words that stand in the place of a user where nobody did it (``resolvedBy``): no user may be called so.
RESERVED: Final = frozenset({"rule", "timeout", "container", "gateway"})
MAX_USER_ID: Final = 200


@attrs.frozen(kw_only=True)
class Caller:
    """Who asks. A role in a project is theirs up to ``max_role``, and only in ``projects`` where those are named."""

    user_id: str
    mode: str
    max_role: Role = Role.ADMIN
    projects: frozenset[str] | None = None
    #: When the credential ends; None: with the request.
    expires_at: datetime | None = None
    #: The API token that was shown, by its id.
    token_id: str | None = None

    def may_see(self, project_id: str) -> bool:
        return self.projects is None or project_id in self.projects

    def check_reach(self, least: Role) -> None:
        """Refuse a credential that is too limited for what concerns its user beyond one project.

        ``TokenLimited`` where it is limited to projects, ``InsufficientRole`` where it is to less than ``least``.
        """
        if self.projects is not None:
            raise TokenLimited(
                f"This API token is limited to some projects, and this concerns all that {self.user_id!r} has; use a "
                "token without such a limit."
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
    """What a request says of who sends it."""

    headers: CIMultiDictProxy[str] = attrs.field(repr=False)
    #: The address that the connection comes from.
    peer: str | None
    #: Whether it was sent to one of this machine's own names.
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
    #: What it wants to be shown, for people.
    wants: str

    async def identify(self, presented: Presented) -> Caller | None:
        """The caller; None where the request shows nothing that this mode knows. ``Unauthenticated`` where it shows
        something that does not hold."""


def flaw_of_user_id(user_id: str) -> str | None:
    """Why nobody can be called so; None where they can."""
    if not 1 <= len(user_id) <= MAX_USER_ID:
        return f"a user's id has 1 to {MAX_USER_ID} characters"
    if not user_id.isprintable() or user_id != user_id.strip():
        return "a user's id has no control characters, and no spaces at its ends"
    if user_id in RESERVED:
        return f"{user_id!r} is a word of the gateway's own and nobody's id"
    return None
