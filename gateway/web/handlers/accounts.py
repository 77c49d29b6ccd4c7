"""Logins and credentials as the API's shapes, without secrets."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import attrs
from msgspec import UNSET

from gateway.administration.accounts import Disconnected
from gateway.credentials.store import NEEDS_REAUTH, AgentAuthToken
from gateway.errors import GatewayError
from gateway.oauth.logins import Begun
from gateway.oauth.pending import AUTHORIZED, EXCHANGING, Login
from gateway.oauth.ways import Way
from gateway.web.handlers import shapes
from gateway.web.handlers.views import shown

#: For answers that hold codes to enter or the state of a login.
NO_STORE = {"Cache-Control": "no-store"}
#: For how long a failed login is reported as the state although an older account still works.
TOLD_FOR = timedelta(minutes=10)
#: The ends of a login that leave the account as it was.
_ENDED_OTHERWISE: Final[dict[str | None, shapes.AuthState]] = {
    "denied": "denied",
    "expired": "expired",
    "failed": "failed",
}


def begun(value: Begun) -> shapes.LoginBegun:
    """What the user must do: open an address, or enter a code."""
    login, provider = value.login, value.provider
    told = shapes.LoginBegun(
        login_id=login.id,
        flow=login.flow,
        provider=provider.id,
        provider_name=provider.name,
        scopes=list(login.scopes),
        expires_at=login.expires_at,
    )
    if value.authorize_url is None:
        return attrs.evolve(told, **_code_of(login))
    return attrs.evolve(
        told,
        authorize_url=value.authorize_url,
        redirect_uri=login.redirect_uri,
        # Whether the user must paste the code, because the browser does not return to the gateway.
        paste_back=provider.pastes,
    )


def asks(way: Way, *, token_url: str) -> shapes.LoginBegun:
    """What the user must send, and where."""
    message = f"Send {way.asks} to {token_url}."
    return shapes.LoginBegun(flow=way.flow, token_type=way.token_type, token_url=token_url, message=message)


def agents_own(login: Login, message: str | None) -> shapes.LoginBegun:
    """A login that the container runs; its progress and end come as the container's events."""
    return shapes.LoginBegun(
        login_id=login.id,
        flow=login.flow,
        authorize_url=login.verification_uri,
        user_code=login.user_code,
        message=message,
        expires_at=login.expires_at,
    )


def status(agent_id: str, known: AgentAuthToken | None, newest: Login | None, ways: Sequence[Way]) -> shapes.AuthStatus:
    """``state`` is the newer of the login's and the account's."""
    return shapes.AuthStatus(
        agent_id=agent_id,
        state=state_of(known, newest),
        credential=None if known is None else credential(known),
        login=None if newest is None else login(newest),
        ways=[_way(way) for way in ways],
    )


def state_of(known: AgentAuthToken | None, newest: Login | None) -> shapes.AuthState:
    """pending, denied, expired or failed of a login; authorized, needs_reauth or expired of an account; else none."""
    if newest is not None and newest.is_live:
        return "pending"
    ended = _end_of(newest)
    if newest is not None and ended in _ENDED_OTHERWISE and _is_news(newest, known):
        return _ENDED_OTHERWISE[ended]
    if known is not None:
        if known.state == NEEDS_REAUTH:
            return "needs_reauth"
        return "authorized" if known.is_usable() or not _is_over(known) else "expired"
    return "authorized" if newest is not None and newest.flow == "agent" and ended == AUTHORIZED else "none"


def credential(value: AgentAuthToken) -> shapes.Credential:
    return shown(
        shapes.Credential,
        value,
        provider=value.provider_id,
        renewable=value.sealed_refresh_token is not None,
        reason=value.state_reason and value.state_reason.partition(": ")[2],
    )


def login(value: Login) -> shapes.LoginState:
    ended = _end_of(value)
    code = value.code or ("login_expired" if ended == "expired" else None)
    return shown(
        shapes.LoginState,
        value,
        provider=value.provider_id,
        state="pending" if value.is_live else ended,
        code=code,
        title=titles().get(code) if code else None,
        **(_code_of(value) if value.is_live and (value.user_code or value.verification_uri) else {}),
    )


def without_code(value: shapes.LoginState) -> shapes.LoginState:
    """For callers who must not complete the login."""
    return attrs.evolve(
        value,
        user_code=UNSET,
        verification_uri=UNSET,
        verification_uri_complete=UNSET,
        interval=UNSET,
        message=UNSET,
    )


def disconnected(agent_id: str, done: Disconnected) -> shapes.Disconnected:
    revoked = done.revoked
    told = None if revoked is None else shapes.Revocation(outcome=revoked.outcome, message=revoked.message)
    return shapes.Disconnected(agent_id=agent_id, deleted=done.deleted, login_cancelled=done.cancelled, revocation=told)


def titles() -> dict[str, str]:
    """A sentence for each code that a login can end with."""
    return {kind.code: kind.title() for kind in _kinds(GatewayError)}


def _kinds(base: type[GatewayError]) -> list[type[GatewayError]]:
    return [kind for below in base.__subclasses__() for kind in (below, *_kinds(below))]


def _code_of(value: Login) -> dict[str, Any]:
    """The device code as members of a shape."""
    return {
        "user_code": value.user_code,
        "verification_uri": value.verification_uri,
        "verification_uri_complete": value.verification_uri_complete,
        "interval": value.poll_interval,
    }


def _way(value: Way) -> shapes.LoginWay:
    way = shapes.LoginWay(flow=value.flow)
    if value.provider is not None:
        way = attrs.evolve(way, provider=value.provider.id, provider_name=value.provider.name)
    if value.token_type is not None:
        way = attrs.evolve(way, token_type=value.token_type, asks=value.asks)
    return way


def _end_of(value: Login | None) -> str | None:
    """How it ended; None while it is live."""
    if value is None or value.is_live:
        return None
    return "expired" if value.state in ("pending", "arrived", EXCHANGING) else value.state


def _is_news(value: Login, known: AgentAuthToken | None) -> bool:
    if known is None:
        return True
    ended = value.ended_at or value.expires_at
    return known.updated_at < value.created_at and value.now - ended < TOLD_FOR


def _is_over(value: AgentAuthToken) -> bool:
    return value.expires_at is not None and value.expires_at <= datetime.now(UTC)
