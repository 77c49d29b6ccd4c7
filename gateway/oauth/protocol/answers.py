"""Interprets providers' responses. Their known deviations are branches here."""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, TypeGuard
from urllib.parse import urlsplit

from gateway.oauth.protocol.claims import claims_of, subject_of
from gateway.oauth.protocol.outcomes import (
    CodeGranted,
    DeviceGranted,
    Failure,
    Granted,
    Malformed,
    Refused,
    TokenAnswer,
    Unavailable,
    Waiting,
)
from gateway.oauth.protocol.provider import Provider
from gateway.oauth.protocol.replies import NoReply, Reply, description_of, error_of, members_of, presentable, seconds

#: A token with a longer lifetime counts as never expiring.
FOREVER = timedelta(days=3650).total_seconds()
MAX_TOKEN = 65_536
#: RFC 8628 3.2: the default interval is five seconds. Without an expiry, fifteen minutes.
DEFAULT_INTERVAL, MAX_INTERVAL = 5.0, 60.0
DEFAULT_DEVICE_SECONDS, MAX_DEVICE_SECONDS = 900.0, 3600.0

#: Other names for errors of RFC 6749 and RFC 8628.
_SYNONYMS = {
    "token_expired": "expired_token",
    "bad_verification_code": "invalid_grant",
    "bad_refresh_token": "invalid_grant",
    "refresh_token_expired": "invalid_grant",
    "refresh_token_reused": "invalid_grant",
    "refresh_token_invalidated": "invalid_grant",
    "incorrect_device_code": "invalid_grant",
    "incorrect_client_credentials": "invalid_client",
    "unauthorized_client": "invalid_client",
    "redirect_uri_mismatch": "invalid_redirect_uri",
}
_TRANSIENT = {"temporarily_unavailable", "server_error", "rate_limit_exceeded", "too_many_requests"}
#: For a refusal without an error code.
UNNAMED = "refused"
_TOKEN = re.compile(r"[\x21-\x7e]+")
_USER_CODE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,62}[\x21-\x7e])?")


def token_answer(
    reply: Reply | NoReply, provider: Provider, *, now: datetime, secrets: tuple[str, ...] = ()
) -> TokenAnswer:
    """The outcome of a call to a token endpoint."""
    members = _sound(reply, secrets)
    if not isinstance(members, Mapping):
        return members
    return _granted(members, provider, now, reply.date if isinstance(reply, Reply) else None)


def device_answer(reply: Reply | NoReply, *, secrets: tuple[str, ...] = ()) -> DeviceGranted | Failure:
    """The outcome of a call to a device authorization endpoint (RFC 8628 3.2)."""
    members = _of_a_device(reply, secrets)
    if not isinstance(members, Mapping):
        return members
    uri = members.get("verification_uri", members.get("verification_url"))
    return device_granted(members, device_code=members.get("device_code"), verification_uri=uri)


def _of_a_device(reply: Reply | NoReply, secrets: tuple[str, ...]) -> Mapping[str, Any] | Failure:
    if _is_missing(reply):
        return _device_flow_disabled()
    members = _sound(reply, secrets)
    if isinstance(members, Waiting):
        return Malformed(reason="the provider says to wait for a login that has not begun")
    return members


def device_granted(
    members: Mapping[str, Any], *, device_code: Any, verification_uri: Any, user_code: Any = None
) -> DeviceGranted | Malformed:
    shown = members.get("user_code") if user_code is None else user_code
    if not _is_token(device_code) or not isinstance(shown, str) or not _USER_CODE.fullmatch(shown):
        return Malformed(reason="the provider's answer has no code to enter")
    if not is_web_address(verification_uri):
        return Malformed(reason="the provider's answer has no address at which to enter the code")
    complete = members.get("verification_uri_complete")
    interval = seconds(members.get("interval")) or DEFAULT_INTERVAL
    return DeviceGranted(
        device_code=device_code,
        user_code=shown,
        verification_uri=verification_uri,
        verification_uri_complete=complete if is_web_address(complete) else None,
        expires_in=min(seconds(members.get("expires_in")) or DEFAULT_DEVICE_SECONDS, MAX_DEVICE_SECONDS),
        interval=min(max(interval, 1.0), MAX_INTERVAL),
    )


def openai_device_answer(
    reply: Reply | NoReply, provider: Provider, *, secrets: tuple[str, ...] = ()
) -> DeviceGranted | Failure:
    """OpenAI's variant: other names, and the interval as a string."""
    members = _of_a_device(reply, secrets)
    if not isinstance(members, Mapping):
        return members
    code = members.get("user_code", members.get("usercode"))
    return device_granted(
        members,
        device_code=members.get("device_auth_id"),
        verification_uri=provider.verification_url,
        user_code=code,
    )


def openai_poll_answer(reply: Reply | NoReply, *, secrets: tuple[str, ...] = ()) -> CodeGranted | Waiting | Failure:
    """OpenAI's answer to whether the code was entered: 403 and 404 mean not yet."""
    if isinstance(reply, Reply) and reply.status in (403, 404):
        told = members_of(reply) or {}
        if error_of(told) == "access_denied":
            return Refused(error="access_denied", description=description_of(told, secrets))
        return Waiting()
    members = _sound(reply, secrets)
    if not isinstance(members, Mapping):
        return members
    code, verifier = members.get("authorization_code"), members.get("code_verifier")
    if not _is_token(code) or not _is_token(verifier):
        return Malformed(reason="the provider's answer has no code to exchange")
    return CodeGranted(code=code, verifier=verifier)


def revocation_answer(reply: Reply | NoReply, *, secrets: tuple[str, ...] = ()) -> Failure | None:
    """The outcome of a revocation; None: done, or the token was unknown (RFC 7009 2.2)."""
    if isinstance(reply, Reply):
        if 200 <= reply.status < 300:
            return None
        if reply.status == 503:
            # RFC 7009 2.2.1: the token is still valid.
            return Unavailable(reason=_status(reply), retry_after=reply.retry_after)
    members = _sound(reply, secrets)
    if isinstance(members, Refused | Unavailable | Malformed):
        return members
    return Malformed(reason="the provider's answer says neither yes nor no")


def is_web_address(value: Any) -> bool:
    """Whether users can be sent there: https, or this machine."""
    if not isinstance(value, str) or len(value) > 2048 or not _TOKEN.fullmatch(value):
        return False
    try:
        parts = urlsplit(value)
        host = parts.hostname or ""
    except ValueError:
        return False
    return bool(host) and (parts.scheme == "https" or (parts.scheme == "http" and is_loopback_name(host)))


def is_loopback_name(host: str) -> bool:
    return host in ("localhost", "::1") or bool(re.fullmatch(r"127(\.\d{1,3}){3}", host))


def _sound(reply: Reply | NoReply, secrets: tuple[str, ...]) -> Mapping[str, Any] | Waiting | Failure:
    """The members of a successful response, otherwise what it means."""
    if isinstance(reply, NoReply):
        return Unavailable(reason=reply.reason, unanswered=reply.sent)
    if 300 <= reply.status < 400:
        return Malformed(reason="the provider redirects a call that carries secrets, which is not followed")
    members = members_of(reply)
    error = error_of(members) if members is not None else None
    if members is not None and error is not None:
        return _error(reply, members, error, secrets)
    if reply.status == 429:
        return Unavailable(reason=_status(reply), retry_after=reply.retry_after)
    if reply.status >= 500:
        return Unavailable(reason=_status(reply), retry_after=reply.retry_after, unanswered=True)
    if reply.status >= 400:
        if members is None:
            # An error page of a proxy decides nothing.
            return Unavailable(reason=_status(reply))
        return Refused(error=UNNAMED, description=description_of(members, secrets))
    if members is None:
        return Malformed(reason=f"{_status(reply)} with {_kind(reply)} where an answer in JSON was expected")
    return members


def _error(
    reply: Reply, members: Mapping[str, Any], error: str, secrets: tuple[str, ...]
) -> Waiting | Refused | Unavailable:
    error = _SYNONYMS.get(error, error)
    if error == "authorization_pending":
        return Waiting(interval=_interval(members))
    if error == "slow_down":
        return Waiting(slow_down=True, interval=_interval(members) or reply.retry_after)
    description = description_of(members, secrets)
    if error in _TRANSIENT or reply.status >= 500 or reply.status == 429:
        reason = ": ".join(filter(None, (_status(reply), description)))
        return Unavailable(reason=reason, retry_after=reply.retry_after, unanswered=reply.status >= 500)
    return Refused(error=UNNAMED if error == "unnamed" else error, description=description)


def _granted(
    members: Mapping[str, Any], provider: Provider, now: datetime, date: datetime | None
) -> Granted | Malformed:
    access = members.get("access_token")
    if not _is_token(access):
        return Malformed(reason="the provider's answer says yes and has no access token that could be used")
    kind = members.get("token_type")
    if isinstance(kind, str) and kind and kind.lower() not in ("bearer", "token"):
        return Malformed(reason=f"the provider's token is of the kind {presentable(kind)!r}; agents take bearer tokens")
    refresh = members.get("refresh_token")
    refresh_seconds = seconds(members.get("refresh_token_expires_in", members.get("refresh_expires_in")))
    return Granted(
        access_token=access,
        refresh_token=refresh if _is_token(refresh) else None,
        expires_at=_end(members, access, provider, now, date),
        refresh_expires_at=_ahead(refresh_seconds, now),
        scopes=_scopes(members.get("scope")),
        subject=subject_of(claims_of(members.get("id_token"))) or _subject_in(access, provider),
    )


def _end(
    members: Mapping[str, Any], access: str, provider: Provider, now: datetime, date: datetime | None
) -> datetime | None:
    """When the access token expires, by our clock. A lifetime does not depend on clocks; a JWT's ``exp`` is converted
    to one with its ``iat`` or the response's ``Date``."""
    told = seconds(members.get("expires_in"))
    if provider.expiry.from_jwt_exp and (claims := claims_of(access)) is not None:
        exp, iat = claims.get("exp"), claims.get("iat")
        begun = iat if _is_number(iat) else (date or now).timestamp()
        if _is_number(exp):
            lasts = max(0.0, exp - begun)
            return _ahead(min(lasts, told) if told is not None else lasts, now)
    return _ahead(told if told is not None else provider.expiry.default_ttl, now)


def _subject_in(access: str, provider: Provider) -> str | None:
    return subject_of(claims_of(access)) if provider.expiry.from_jwt_exp else None


def _ahead(length: float | None, now: datetime) -> datetime | None:
    return None if length is None or length > FOREVER else now + timedelta(seconds=length)


def _is_number(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e15


def _scopes(value: Any) -> tuple[str, ...] | None:
    """Separated by spaces (RFC 6749 3.3), by commas (GitHub), or a list; None if absent."""
    if isinstance(value, list):
        value = " ".join(word for word in value if isinstance(word, str))
    if not isinstance(value, str) or not value.strip():
        return None
    words = [word[:255] for word in re.split(r"[\s,]+", value) if word and word.isprintable()]
    return tuple(dict.fromkeys(words))[:100]


def _interval(members: Mapping[str, Any]) -> float | None:
    told = seconds(members.get("interval"))
    return None if told is None else min(told, MAX_INTERVAL)


def _is_token(value: Any) -> TypeGuard[str]:
    return isinstance(value, str) and len(value) <= MAX_TOKEN and bool(_TOKEN.fullmatch(value))


def _is_missing(reply: Reply | NoReply) -> bool:
    return isinstance(reply, Reply) and reply.status == 404


def _device_flow_disabled() -> Refused:
    return Refused(error="device_flow_disabled")


def _status(reply: Reply) -> str:
    return f"the provider answered {reply.status}"


def _kind(reply: Reply) -> str:
    if not reply.body.strip():
        return "nothing"
    return presentable(reply.content_type) or "something"
