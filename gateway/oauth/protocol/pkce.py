"""Proof Key for Code Exchange (RFC 7636), and the other random words of a login. ``S256`` only: never plain."""

import hashlib
import re
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Callable

import attrs

#: Gives a word of URL-safe characters from so many random bytes.
Randomness = Callable[[int], str]
_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")


@attrs.frozen(kw_only=True)
class Verifier:
    """A secret of one login, and what the provider is told of it beforehand."""

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
    """What ties an answer to its login; nothing else is ever used for it, the verifier least of all."""
    return randomness(32)


def hash_of(word: str) -> bytes:
    """What is kept of a random word that is to be recognised: looked up by it, nobody learns the word by timing."""
    return hashlib.sha256(word.encode("utf-8", "surrogatepass")).digest()
