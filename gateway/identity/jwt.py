"""``jwt``: callers send a JWT of an issuer that the operator trusts.

PyJWT checks the signature by a key of the issuer, with a configured algorithm; issuer and audience; and the times, with
some leeway for clocks.
"""

from datetime import UTC, datetime
from typing import Any, Final

import jwt

from gateway.config.schema import IdentityConfig
from gateway.errors import Unauthenticated
from gateway.identity.caller import Caller, Presented, flaw_of_user_id
from gateway.identity.jwks import KeySet

LEEWAY_SECONDS: Final = 30
#: 9999-01-01: PostgreSQL and some time zones cannot represent later times.
LAST_TIME: Final = 253_370_764_800
_TIMES: Final = ("exp", "nbf", "iat")
MAX_TOKEN: Final = 16_384


class JwtMode:
    """Identifies the issuer's users."""

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
        flaw = flaw_of_user_id(user_id, is_foreign=True) if isinstance(user_id, str) else "it is not a string"
        if flaw is not None:
            raise _invalid(f"has no valid user id in its claim {self._config.jwt_user_claim!r}: {flaw}")
        for name in _TIMES:
            if name in claims and not _is_time(claims[name]):
                raise _invalid(f"has an invalid claim {name!r}: it must be seconds since 1970, up to the year 9998")
        until = datetime.fromtimestamp(int(claims["exp"]) + LEEWAY_SECONDS, tz=UTC)
        return Caller(user_id=str(user_id), mode=self.name, expires_at=until)

    async def _claims(self, text: str) -> dict[str, Any]:
        config = self._config
        try:
            if len(text) > MAX_TOKEN:
                raise _invalid("is too long")
            header = jwt.get_unverified_header(text)
            if header.get("alg") not in config.jwt_algorithms:
                raise _invalid(f"is not signed with one of the algorithms {', '.join(config.jwt_algorithms)}")
            key_id = header.get("kid")
            key = await self._keys.find(key_id if isinstance(key_id, str) else None)
            if key is None:
                raise _invalid("is not signed by a key of its issuer")
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
            raise _invalid("is not valid yet") from None
        except jwt.InvalidIssuerError:
            raise _invalid(f"is not from the issuer {config.jwt_issuer}") from None
        except jwt.InvalidAudienceError:
            raise _invalid(f"is not for this gateway: its audience is not {config.jwt_audience}") from None
        except jwt.MissingRequiredClaimError as exc:
            raise _invalid(f"has no claim {exc.claim!r}") from None
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError):
            # PyJWT's messages may quote the token.
            raise _invalid("cannot be read, or its signature is wrong") from None
        return claims


def _is_time(value: Any) -> bool:
    """Whether it is a NumericDate (RFC 7519 2): PyJWT accepts strings and booleans, too."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < LAST_TIME


def _invalid(flaw: str) -> Unauthenticated:
    return Unauthenticated(f"This JWT {flaw}.", error="invalid_token")
