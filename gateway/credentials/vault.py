"""Seals and opens secrets: XChaCha20-Poly1305 from libsodium, each bound to the place where it is stored.

A sealed secret is ``0x01``, the length of its key's id and the id, then libsodium's nonce, ciphertext and tag. The
associated data is that header and the place: table, primary key and field, each with its length. It does not open in
another row or field.
"""

import hashlib
import struct
from collections.abc import Iterable

import attrs
from nacl.exceptions import CryptoError
from nacl.secret import Aead

from gateway.credentials.keyring import Key, Keys
from gateway.errors import SecretUnreadable, VaultKeyMissing, VaultNotConfigured

_VERSION = 1
_LENGTH = struct.Struct("!I")
_FINGERPRINT_BYTES = 4


@attrs.frozen(kw_only=True)
class Place:
    """Where a secret is stored; it opens only there."""

    table: str
    #: The row's primary key.
    row: tuple[str, ...]
    field: str

    @classmethod
    def of_credential(cls, user_id: str, agent_id: str, field: str) -> "Place":
        return cls(table="agent_auth_tokens", row=(user_id, agent_id), field=field)

    def encoded(self) -> bytes:
        return _prefixed((self.table, *self.row, self.field))


@attrs.frozen
class Sealed:
    """A sealed secret; ``ciphertext`` is all that is stored."""

    ciphertext: bytes = attrs.field(repr=False, converter=bytes)

    @property
    def key_id(self) -> str:
        """Raises ``SecretUnreadable`` if these bytes are not a sealed secret."""
        return self.split()[0]

    def split(self) -> tuple[str, bytes, bytes]:
        """The key's id, the header, and the rest."""
        data = self.ciphertext
        end = 2 + data[1] if len(data) > 1 else 0
        if not end or data[0] != _VERSION or len(data) < end:
            raise SecretUnreadable("What is stored is no sealed secret of a form that this gateway knows.")
        return data[2:end].decode("ascii", "replace"), data[:end], data[end:]


class Vault:
    """Seals with the current key and opens with any of the ring. The only code that makes secrets readable."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    @property
    def current_key_id(self) -> str | None:
        ring = self._keys.refresh()
        return ring.current.id if ring else None

    @property
    def key_ids(self) -> list[str]:
        ring = self._keys.refresh()
        return ring.ids if ring else []

    def seal(self, plaintext: bytes, place: Place) -> Sealed:
        """Raises ``VaultNotConfigured`` without a key."""
        return self.seal_with(self._current(), plaintext, place)

    def seal_with(self, key: Key, plaintext: bytes, place: Place) -> Sealed:
        key_id = key.id.encode("ascii")
        header = bytes((_VERSION, len(key_id))) + key_id
        # The random nonce is long enough not to repeat.
        return Sealed(header + Aead(key.secret).encrypt(plaintext, aad=header + place.encoded()))

    def open(self, sealed: Sealed, place: Place) -> bytes:
        """``VaultKeyMissing`` if its key is not in the ring, ``SecretUnreadable`` if it does not open here."""
        key_id, header, rest = sealed.split()
        return self._decrypt(self._key(key_id), header, rest, place)

    def opens_with(self, key: Key, sealed: Sealed, place: Place) -> bool:
        """Whether this key has sealed it."""
        _, header, rest = sealed.split()
        try:
            self._decrypt(key, header, rest, place)
        except SecretUnreadable:
            return False
        return True

    def fingerprint(self, plaintext: bytes, user_id: str) -> str:
        """Distinguishes a user's secrets; it reveals nothing without the key, and changes with it."""
        digest = hashlib.blake2b(
            _prefixed((user_id,)) + plaintext,
            digest_size=_FINGERPRINT_BYTES,
            key=self._current().secret,
            person=b"fingerprint",
        )
        return digest.hexdigest()

    def key_of(self, key_id: str) -> Key | None:
        ring = self._keys.ring
        return ring.get(key_id) if ring else None

    def _current(self) -> Key:
        ring = self._keys.refresh()
        if ring is None:
            raise VaultNotConfigured
        return ring.current

    def _key(self, key_id: str) -> Key:
        key = self.key_of(key_id)
        if key is None:
            # Another gateway may have a newer key file.
            ring = self._keys.refresh()
            key = ring.get(key_id) if ring else None
        if key is None:
            raise VaultKeyMissing(
                f"This secret was sealed with the key {key_id!r}, which this gateway does not have.", keyId=key_id
            )
        return key

    def _decrypt(self, key: Key, header: bytes, rest: bytes, place: Place) -> bytes:
        try:
            return Aead(key.secret).decrypt(rest, aad=header + place.encoded())
        except (CryptoError, ValueError):  # the latter where it is too short to be anything
            # From None, so that nothing of the attempt is logged.
            raise SecretUnreadable(
                f"The stored {place.field.replace('_', ' ')} does not open: it was changed or moved, or the key "
                f"{key.id!r} is not the one that sealed it. Store it again."
            ) from None


def _prefixed(parts: Iterable[str]) -> bytes:
    encoded = [part.encode() for part in parts]
    return b"".join(_LENGTH.pack(len(part)) + part for part in (_LENGTH.pack(len(encoded)), *encoded))
