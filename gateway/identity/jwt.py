"""``jwt``: callers send a JWT of an issuer that the operator trusts, as it gives one to each signed-in user.

Checked by PyJWT: the signature by a key of the issuer's, of an algorithm that is configured; issuer, audience, and the
times, with a little leeway for clocks that differ.
"""

from datetime import UTC, datetime
from typing import Any, Final

import jwt

from gateway.config.schema import IdentityConfig
from gateway.errors import Unauthenticated
from gateway.identity.caller import LOCAL_USER, Caller, Presented, flaw_of_user_id
from gateway.identity.jwks import KeySet

LEEWAY_SECONDS: Final = 30
#: 9999-01-01: a later time is none that the database and every time zone can hold.
LAST_TIME: Final = 253_370_764_800
_TIMES: Final = ("exp", "nbf", "iat")
#: Longer than any that an issuer gives.
MAX_TOKEN: Final = 16_384


class JwtMode:
    """Identifies whom the issuer does."""

    name = "jwt"

    def __init__(self, config: IdentityConfig) -> None:
        self._config = config
        self._keys = KeySet(config.jwt_jwks_url, config.jwt_algorithms)
        self.wants = f"a JWT of {config.jwt_issuer} (Authorization: Bearer …)"

    async def identify(self, presented: Presented) -> Caller | None:
        text = presented.bearer
        if text is None or text.count(".") != 2:
            return None
        claims = await self._claims(text)
        user_id = claims.get(self._config.jwt_user_claim)
        flaw = flaw_of_user_id(user_id) if isinstance(user_id, str) else "it is no text"
        if flaw is None and user_id == LOCAL_USER:
            flaw = f"{LOCAL_USER!r} is whoever uses the gateway's own machine"
        if flaw is not None:
            raise _invalid(f"names nobody in its claim {self._config.jwt_user_claim!r}: {flaw}")
        for name in _TIMES:
            if name in claims and not _is_time(claims[name]):
                raise _invalid(
                    f"has a claim {name!r} that is no time: it must be seconds since 1970, up to the year 9998"
                )
        until = datetime.fromtimestamp(int(claims["exp"]) + LEEWAY_SECONDS, tz=UTC)
        return Caller(user_id=str(user_id), mode=self.name, expires_at=until)

    async def _claims(self, text: str) -> dict[str, Any]:
        config = self._config
        try:
            if len(text) > MAX_TOKEN:
                raise _invalid("is too long")
            header = jwt.get_unverified_header(text)
            if header.get("alg") not in config.jwt_algorithms:
                raise _invalid(f"is signed by another algorithm than {', '.join(config.jwt_algorithms)}")
            key_id = header.get("kid")
            key = await self._keys.find(key_id if isinstance(key_id, str) else None)
            if key is None:
                raise _invalid("is signed by no key of its issuer's")
            claims: dict[str, Any] = jwt.decode(
                text,
                key.key,
                algorithms=list(config.jwt_algorithms),
                audience=config.jwt_audience,
                issuer=config.jwt_issuer,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "iss", "aud", config.jwt_user_claim]},
            )
        except jwt.ExpiredSignatureError:
            raise _invalid("has expired") from None
        except jwt.ImmatureSignatureError:
            raise _invalid("is not good yet") from None
        except jwt.InvalidIssuerError:
            raise _invalid(f"is of another issuer than {config.jwt_issuer}") from None
        except jwt.InvalidAudienceError:
            raise _invalid(f"is not for this gateway: its audience is not {config.jwt_audience}") from None
        except jwt.MissingRequiredClaimError as exc:
            raise _invalid(f"has no claim {exc.claim!r}") from None
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError):
            # What PyJWT says may repeat parts of it.
            raise _invalid("cannot be read, or its signature does not fit") from None
        return claims


def _is_time(value: Any) -> bool:
    """Whether it is a NumericDate (RFC 7519 2): PyJWT takes text and booleans, too."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < LAST_TIME


def _invalid(flaw: str) -> Unauthenticated:
    return Unauthenticated(f"This JWT {flaw}.", error="invalid_token")
