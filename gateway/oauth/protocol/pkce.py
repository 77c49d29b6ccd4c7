"""Proof Key for Code Exchange (RFC 7636), and a login's other random values. Only ``S256``."""

import hashlib
import re
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Callable

import attrs

#: Returns URL-safe characters from this number of random bytes.
Randomness = Callable[[int], str]
_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")


@attrs.frozen(kw_only=True)
class Verifier:
    """A login's secret verifier, and its challenge."""

    value: str = attrs.field(repr=False)

    def __attrs_post_init__(self) -> None:
        if not _VERIFIER.fullmatch(self.value):
            raise ValueError("a code verifier has 43 to 128 unreserved characters (RFC 7636 4.1)")

    @classmethod
    def new(cls, randomness: Randomness = secrets.token_urlsafe) -> "Verifier":
        return cls(value=randomness(64))

    @property
    def challenge(self) -> str:
        return urlsafe_b64encode(hashlib.sha256(self.value.encode("ascii")).digest()).rstrip(b"=").decode("ascii")


def new_state(randomness: Randomness = secrets.token_urlsafe) -> str:
    """Ties a response to its login; used for nothing else."""
    return randomness(32)


def hash_of(word: str) -> bytes:
    """The stored digest of a random value, for look-ups without timing leaks."""
    return hashlib.sha256(word.encode("utf-8", "surrogatepass")).digest()
