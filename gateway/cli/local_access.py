"""How programs of the same user find a gateway on this machine, and its token.

    <data_dir>/
      local.token       an API token for the user `local`, mode 0600
      local.id          identifies this directory to gateways on the same database
      gateway.address   the address of the running gateway, which has the file locked (flock)

Programs send the token only to that address, and only while the file is locked. So it does not reach another program
that listens there later.
"""

import fcntl
import os
import re
import secrets
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import attrs

from gateway.errors import StartError

TOKEN_FILE: Final = "local.token"
ID_FILE: Final = "local.id"
ADDRESS_FILE: Final = "gateway.address"
#: More bytes than a token has.
_MOST: Final = 1000
#: Another program may just be checking the lock.
_TRIES, _PAUSE = 20, 0.05
_ID: Final = re.compile("[0-9a-f]{12}")


@attrs.frozen(kw_only=True)
class Kept:
    """A token of a file."""

    text: str = attrs.field(repr=False)
    #: Whether no other user can have read it.
    is_private: bool


def read_token(data_dir: Path) -> Kept | None:
    """None if there is no readable file."""
    try:
        with open(
            data_dir / TOKEN_FILE, "rb", opener=lambda path, flags: os.open(path, flags | os.O_NOFOLLOW)
        ) as stream:
            found = os.fstat(stream.fileno())
            text = stream.read(_MOST).decode(errors="replace").strip()
    except OSError:
        return None
    is_private = stat.S_ISREG(found.st_mode) and not found.st_mode & 0o077 and found.st_uid in (0, os.geteuid())
    return Kept(text=text, is_private=is_private) if text else None


def write_token(data_dir: Path, text: str) -> None:
    """Replace the file atomically, readable only by its owner."""
    _put(data_dir / TOKEN_FILE, text, "The gateway's token")


def id_of(data_dir: Path) -> str:
    """The directory's id in the database; its path may also exist on another machine."""
    file = data_dir / ID_FILE
    with suppress(OSError, UnicodeDecodeError):
        kept = file.read_text(encoding="ascii").strip()
        if _ID.fullmatch(kept):
            return kept
    made = secrets.token_hex(6)
    _put(file, made, "The id of the data directory")
    return made


def _put(file: Path, text: str, what: str) -> None:
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{file.name}-", dir=file.parent)  # made with mode 0600
        try:
            with open(descriptor, "w", encoding="ascii") as stream:
                stream.write(f"{text}\n")
            os.replace(name, file)
        except OSError:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as exc:
        raise StartError(f"{what} cannot be written to {file}: {exc.strerror}") from exc


@contextmanager
def announced(data_dir: Path, address: str) -> Iterator[None]:
    """While this is open, programs of this user find the gateway at this address; ``StartError`` if another gateway
    uses the directory."""
    file = data_dir / ADDRESS_FILE
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError as exc:
        raise StartError(f"{file} cannot be written: {exc.strerror}; choose another directory with --data-dir") from exc
    try:
        if not _lock(descriptor):
            raise StartError(
                f"Another gateway has its token in {data_dir}: give this one another --data-dir, or set identity.modes "
                "to how its callers identify themselves"
            )
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{address}\n".encode())
        yield
    finally:
        os.close(descriptor)


def address_in(data_dir: Path) -> str | None:
    """The address of the running gateway of this directory, or None."""
    try:
        descriptor = os.open(data_dir / ADDRESS_FILE, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.read(descriptor, _MOST).decode(errors="replace").strip()
    finally:
        os.close(descriptor)
    return None


def _lock(descriptor: int) -> bool:
    for _ in range(_TRIES):
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        time.sleep(_PAUSE)
    return False
