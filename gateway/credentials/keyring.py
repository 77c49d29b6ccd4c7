"""The vault's keys: a ring in which the current key seals and any opens, from a file or a variable.

Both have the form ``id:base64`` of 32 bytes, one per line in a file (``#`` begins a comment), separated by commas or
spaces in a variable. The current key has a ``*`` before its id; by default it is the first.
"""

import base64
import binascii
import fcntl
import logging
import os
import re
import secrets
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import attrs

from gateway.config.schema import VaultConfig
from gateway.errors import ConfigError

logger = logging.getLogger(__name__)

KEY_BYTES = 32
#: The default name, beside the embedded PostgreSQL.
FILE_NAME = "vault.keys"
KEYS_VARIABLE = "ACP_GATEWAY_VAULT_KEYS"
_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,31}")
_HEADER = """\
# The keys that the ACP gateway seals secrets with: id:base64, one a line, the newest last. The one with a * is current:
# it seals, and all of them open.
# Whoever has this file and the database can read every stored token: keep it secret, and keep a copy of it elsewhere,
# for without it those tokens are lost. "acp-gateway key --help" tells how to change keys.
"""


@attrs.frozen
class Key:
    """One key; its id is stored with everything that it has sealed."""

    id: str
    secret: bytes = attrs.field(repr=False)

    @classmethod
    def make(cls) -> "Key":
        day = datetime.now(UTC).strftime("%Y%m%d")
        return cls(f"k{day}-{secrets.token_hex(3)}", secrets.token_bytes(KEY_BYTES))

    def line(self) -> str:
        return f"{self.id}:{base64.b64encode(self.secret).decode()}"


class KeyRing:
    """Keys by age; one of them is current."""

    def __init__(self, keys: Iterable[Key], current_id: str | None = None) -> None:
        """``current_id``: None means the first."""
        self._keys = {key.id: key for key in keys}
        self._current_id = current_id or next(iter(self._keys))

    @classmethod
    def parse(cls, text: str, source: str) -> "KeyRing":
        """A ``ConfigError`` names ``source`` and the place in it, and quotes nothing, which might be part of a key."""
        keys: dict[str, Key] = {}
        current_id = None
        for place, entry in _entries(text):
            key = _key(entry.removeprefix("*"), f"{source}: {place}")
            if key.id in keys:
                raise ConfigError(f"{source}: {place}: the key id {key.id!r} stands twice")
            if entry.startswith("*"):
                if current_id is not None:
                    raise ConfigError(f"{source}: {place}: {current_id!r} has a * already; one key alone is current")
                current_id = key.id
            keys[key.id] = key
        if not keys:
            raise ConfigError(f"{source}: there is no key in it; it wants id:base64 of {KEY_BYTES} bytes")
        return cls(keys.values(), current_id)

    def text(self) -> str:
        lines = (f"{'*' if key.id == self._current_id else ''}{key.line()}\n" for key in self._keys.values())
        return _HEADER + "".join(lines)

    @property
    def current(self) -> Key:
        return self._keys[self._current_id]

    @property
    def newest(self) -> Key:
        return list(self._keys.values())[-1]

    @property
    def ids(self) -> list[str]:
        return list(self._keys)

    def get(self, key_id: str) -> Key | None:
        return self._keys.get(key_id)

    def __iter__(self) -> Iterator[Key]:
        return iter(self._keys.values())

    def with_new(self, key: Key) -> "KeyRing":
        """The ring with a further key, which seals nothing yet."""
        return KeyRing([*self._keys.values(), key], self._current_id)

    def with_current(self, key_id: str) -> "KeyRing":
        """The ring with this key as the current one."""
        return KeyRing(self._keys.values(), key_id)


def _entries(text: str) -> Iterator[tuple[str, str]]:
    """Each entry with its place; comments begin with # and end with the line."""
    for number, line in enumerate(text.splitlines(), 1):
        for entry in line.partition("#")[0].replace(",", " ").split():
            yield f"line {number}", entry


def _key(entry: str, place: str) -> Key:
    key_id, colon, encoded = entry.partition(":")
    if not colon or not _ID.fullmatch(key_id):
        raise ConfigError(
            f"{place}: a key is id:base64, and its id 1 to 32 of a-z, 0-9, '.', '_' and '-', beginning with none of "
            "the last three"
        )
    try:
        secret = base64.b64decode(encoded.replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError):
        raise ConfigError(f"{place}: the key {key_id!r} is not base64") from None
    if len(secret) != KEY_BYTES:
        raise ConfigError(f"{place}: the key {key_id!r} has {len(secret)} bytes; it must have {KEY_BYTES}")
    return Key(key_id, secret)


class Keys:
    """The source of the keys and the present ring: a changed file is read again."""

    def __init__(self, *, file: Path | None = None, ring: KeyRing | None = None) -> None:
        self.file = file
        self._ring = ring
        self._seen: tuple[int, ...] | None = None

    @classmethod
    def load(cls, config: VaultConfig) -> "Keys":
        """The configured keys, if any. Raises ``ConfigError``."""
        if config.keys and config.key_file:
            raise ConfigError(f"vault.key_file and vault.keys ({KEYS_VARIABLE}) are both set; keep one of them")
        if config.keys:
            return cls(ring=KeyRing.parse(config.keys, f"vault.keys ({KEYS_VARIABLE})"))
        if config.key_file:
            keys = cls(file=Path(config.key_file).expanduser())
            keys._read()
            return keys
        return cls()

    @property
    def ring(self) -> KeyRing | None:
        """None: there is no key."""
        return self._ring

    def refresh(self) -> KeyRing | None:
        """The ring, read again if its file has changed; the former one if that cannot be read."""
        if self.file is not None and _signature(self.file) != self._seen:
            try:
                self._read()
            except ConfigError as exc:
                self._seen = _signature(self.file)
                logger.error("key file cannot be used; going on with the former keys", extra={"error": str(exc)})
        return self._ring

    def _read(self) -> None:
        assert self.file is not None
        seen = _signature(self.file)
        ring = read_file(self.file)
        for key in self._ring or ():
            # Known keys were compared with the database at the start.
            if ring.get(key.id) not in (None, key):
                raise ConfigError(f"vault.key_file: {self.file}: the key {key.id!r} is not the one that it was")
        self._ring, self._seen = ring, seen


def _signature(file: Path) -> tuple[int, ...] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def read_file(file: Path) -> KeyRing:
    """The keys in a file that only its owner, or root's group, can read."""
    try:
        with file.open(encoding="utf-8") as stream:
            _refuse_readable(file, os.fstat(stream.fileno()))
            text = stream.read()
    except FileNotFoundError:
        raise ConfigError(
            f"vault.key_file: there is no {file}; put back the file that the database's secrets were sealed with, or "
            'make a first one with "acp-gateway key new"'
        ) from None
    except UnicodeDecodeError:
        raise ConfigError(f"vault.key_file: {file} is not text") from None
    except OSError as exc:
        raise ConfigError(f"vault.key_file: {file} cannot be read: {exc.strerror}") from exc
    return KeyRing.parse(text, f"vault.key_file: {file}")


def _refuse_readable(file: Path, found: os.stat_result) -> None:
    if os.name != "posix":
        return
    # A mounted secret belongs to root, and is readable by the gateway's group.
    allowed = 0o640 if found.st_uid == 0 and os.geteuid() != 0 else 0o600
    mode = stat.S_IMODE(found.st_mode)
    if mode & 0o077 & ~allowed:
        raise ConfigError(
            f"vault.key_file: others can read {file} (its mode is {mode:04o}): run chmod 600 on it, and if others may "
            'have read it, change the key ("acp-gateway key new", then "acp-gateway key rotate")'
        )


def write_file(file: Path, ring: KeyRing) -> None:
    """Replace the file atomically and durably."""
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{file.name}-", dir=file.parent)  # made with mode 0600
    except OSError as exc:
        raise ConfigError(f"vault.key_file: {file} cannot be written: {exc.strerror}") from exc
    fresh = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(ring.text())
            stream.flush()
            os.fsync(stream.fileno())
        fresh.replace(file)
        _sync_directory(file.parent)
    except OSError as exc:
        fresh.unlink(missing_ok=True)
        raise ConfigError(f"vault.key_file: {file} cannot be written: {exc.strerror}") from exc


@contextmanager
def changing(file: Path) -> Iterator[None]:
    """Locks the file against concurrent changes."""
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(file.parent, os.O_RDONLY)
    except OSError as exc:
        raise ConfigError(f"vault.key_file: {file} cannot be written: {exc.strerror}") from exc
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
