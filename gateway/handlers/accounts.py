"""Accounts as the API shows them: what a person must do, what became of it, and never a secret."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from gateway.credentials.store import NEEDS_REAUTH, AgentAuthToken
from gateway.errors import GatewayError
from gateway.oauth.logins import Begun
from gateway.oauth.pending import AUTHORIZED, EXCHANGING, Login
from gateway.oauth.revoke import Revoked
from gateway.oauth.ways import Way
from gateway.wire.times import timestamp

#: An answer that says what a person is to enter, or where they stand, is for now.
NO_STORE = {"Cache-Control": "no-store"}
#: How long the end of a login without an account is the state of things where an older account is still there.
TOLD_FOR = timedelta(minutes=10)
_ENDED_OTHERWISE = ("denied", "expired", "failed")


def begun(value: Begun) -> dict[str, Any]:
    """What the person must do."""
    login = value.login
    shown: dict[str, Any] = {
        "loginId": login.id,
        "flow": login.flow,
        "provider": value.provider.id,
        "providerName": value.provider.name,
        "scopes": list(login.scopes),
        "expiresAt": timestamp(login.expires_at),
    }
    if value.authorize_url is not None:
        return shown | {
            "authorizeUrl": value.authorize_url,
            "redirectUri": login.redirect_uri,
            # Whether the browser comes back by itself, or the person brings what it ended with.
            "pasteBack": value.provider.pastes,
        }
    return shown | _device(login)


def asks(way: Way, *, token_url: str) -> dict[str, Any]:
    """What the person must bring, and where to."""
    message = f"Send {way.asks} to {token_url}."
    return {"flow": way.flow, "tokenType": way.token_type, "tokenUrl": token_url, "message": message}


def agents_own(login: Login, message: str | None) -> dict[str, Any]:
    """What the container says of its own login; it tells more, and the end, in its events."""
    return {
        "loginId": login.id,
        "flow": login.flow,
        "authorizeUrl": login.verification_uri,
        "userCode": login.user_code,
        "message": message,
        "expiresAt": timestamp(login.expires_at),
    }


def status(agent_id: str, known: AgentAuthToken | None, newest: Login | None, ways: Sequence[Way]) -> dict[str, Any]:
    """``state`` is what happened last: the login's, or the account's."""
    return {
        "agentId": agent_id,
        "state": state_of(known, newest),
        "credential": None if known is None else credential(known),
        "login": None if newest is None else login(newest),
        "ways": [_way(way) for way in ways],
    }


def state_of(known: AgentAuthToken | None, newest: Login | None) -> str:
    """pending, denied, expired or failed of a login; authorized, needs_reauth or expired of an account; else none."""
    if newest is not None and newest.is_live:
        return "pending"
    ended = _end_of(newest)
    if newest is not None and ended in _ENDED_OTHERWISE and _is_news(newest, known):
        return ended
    if known is not None:
        if known.state == NEEDS_REAUTH:
            return NEEDS_REAUTH
        return "authorized" if known.is_usable() or not _is_over(known) else "expired"
    return "authorized" if newest is not None and newest.flow == "agent" and ended == AUTHORIZED else "none"


def credential(value: AgentAuthToken) -> dict[str, Any]:
    return {
        "agentId": value.agent_id,
        "tokenType": value.token_type,
        "provider": value.provider_id,
        "subject": value.subject,
        "scopes": list(value.scopes),
        "expiresAt": _time(value.expires_at),
        "renewable": value.sealed_refresh_token is not None,
        "state": value.state,
        "reason": value.state_reason and value.state_reason.partition(": ")[2],
        "fingerprint": value.fingerprint,
        "createdAt": timestamp(value.created_at),
        "updatedAt": timestamp(value.updated_at),
    }


def login(value: Login) -> dict[str, Any]:
    ended = _end_of(value)
    code = value.code or ("login_expired" if ended == "expired" else None)
    shown = {
        "id": value.id,
        "flow": value.flow,
        "provider": value.provider_id,
        "state": "pending" if value.is_live else ended,
        "code": code,
        "title": titles().get(code) if code else None,
        "detail": value.detail,
        "scopes": list(value.scopes),
        "expiresAt": timestamp(value.expires_at),
        "createdAt": timestamp(value.created_at),
        "endedAt": _time(value.ended_at),
    }
    return shown | (_device(value) if value.is_live and value.user_code else {})


def disconnected(agent_id: str, *, deleted: bool, cancelled: bool, revoked: Revoked | None) -> dict[str, Any]:
    told = None if revoked is None else {"outcome": revoked.outcome, "message": revoked.message}
    return {"agentId": agent_id, "deleted": deleted, "loginCancelled": cancelled, "revocation": told}


def titles() -> dict[str, str]:
    """The sentence of each code with which a login can end."""
    return {kind.code: kind.title() for kind in _kinds(GatewayError)}


def _kinds(base: type[GatewayError]) -> list[type[GatewayError]]:
    return [kind for below in base.__subclasses__() for kind in (below, *_kinds(below))]


def _device(value: Login) -> dict[str, Any]:
    return {
        "userCode": value.user_code,
        "verificationUri": value.verification_uri,
        "verificationUriComplete": value.verification_uri_complete,
        "interval": value.poll_interval,
    }


def _way(value: Way) -> dict[str, Any]:
    shown: dict[str, Any] = {"flow": value.flow}
    if value.provider is not None:
        shown |= {"provider": value.provider.id, "providerName": value.provider.name}
    if value.token_type is not None:
        shown |= {"tokenType": value.token_type, "asks": value.asks}
    return shown


def _end_of(value: Login | None) -> str | None:
    """How it ended; one that nobody has completed in time has, too."""
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


def _time(at: datetime | None) -> str | None:
    return timestamp(at) if at else None
