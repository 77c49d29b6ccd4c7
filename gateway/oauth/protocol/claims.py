"""The claims of a JWT, unverified: only for tokens from the provider's own token endpoint, over TLS."""

from base64 import urlsafe_b64decode
from collections.abc import Mapping
from typing import Any

from gateway.wire.codec import DecodeError, parse_foreign_json

MAX_SUBJECT = 255


def claims_of(token: Any) -> Mapping[str, Any] | None:
    """The claims; None if it is not a JWT."""
    parts = token.split(".") if isinstance(token, str) else []
    if len(parts) != 3:
        return None
    try:
        raw = urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))
        value = parse_foreign_json(raw)
    except (ValueError, DecodeError):
        return None
    return value if isinstance(value, dict) else None


def subject_of(claims: Mapping[str, Any] | None) -> str | None:
    """The subject."""
    subject = claims.get("sub") if claims else None
    fits = isinstance(subject, str) and 0 < len(subject) <= MAX_SUBJECT and subject.isprintable()
    return subject if fits else None
