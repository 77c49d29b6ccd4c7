"""Secrets that are known by sight, and a search for them in whatever a system leaves behind."""

import base64
import re
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path

import attrs

#: What a database's files are full of.
_EMPTY = re.compile(rb"\0{64,}")


class Canaries:
    """Each secret of a run under the name of what it is; ``found_in`` tells which of them somewhere holds."""

    def __init__(self) -> None:
        self._spellings: dict[str, list[tuple[str, bytes]]] = {}
        self._shown: dict[str, str] = {}

    def make(self, name: str, form: str = "canary{}") -> str:
        """A new secret of this form, which nothing else can be taken for."""
        return self.add(name, form.format(secrets.token_hex(16)))

    def add(self, name: str, secret: str | bytes, *, shown_in: str = "") -> str:
        """``shown_in``: the one place where it has to be."""
        self._shown[name] = shown_in
        data = secret.encode() if isinstance(secret, str) else secret
        self._spellings[name] = list(spellings(data))
        return data.decode(errors="replace")

    @property
    def names(self) -> list[str]:
        return sorted(self._spellings)

    def found_in(self, data: bytes, where: str = "") -> list[str]:
        """``name (spelling)`` of each that stands there, and should not."""
        return [
            f"{name} ({how})"
            for name, known in self._spellings.items()
            for how, spelling in known
            if not (where and self._shown[name] == where)
            and (spelling in data or (how == "hex" and spelling.upper() in data))
        ]


def spellings(secret: bytes) -> Iterator[tuple[str, bytes]]:
    """How a secret may stand in a log or a dump: as it is, in hex (bytea), in base64 at each of its three offsets."""
    yield "plain", secret
    yield "backwards", secret[::-1]
    yield "hex", secret.hex().encode()
    for offset in range(3):
        padded = base64.b64encode(bytes(offset) + secret)
        # What is before and behind it decides on the first and last characters.
        inner = padded[(0, 2, 3)[offset] : len(padded) - (4 if padded.endswith(b"=") else 1)]
        yield f"base64 at {offset}", inner
        if b"+" in inner or b"/" in inner:
            yield f"base64url at {offset}", inner.translate(bytes.maketrans(b"+/", b"-_"))
    try:
        text = secret.decode()
    except UnicodeDecodeError:
        return
    yield "UTF-16", text.encode("utf-16-le")


@attrs.define
class Witness:
    """All that came out of a system, by where it came out."""

    seen: dict[str, bytearray] = attrs.field(factory=dict)

    def note(self, where: str, data: bytes | str) -> None:
        self.seen.setdefault(where, bytearray()).extend(data.encode() if isinstance(data, str) else data)

    def note_files(self, where: str, directory: Path) -> None:
        """Every file below, as its bytes are on the disk."""
        for path in sorted(directory.rglob("*")):
            if path.is_file() and not path.is_symlink():
                self.note(f"{where}: {path.relative_to(directory)}", _EMPTY.sub(b"\0", path.read_bytes()))

    def leaks(self, canaries: Canaries) -> Mapping[str, list[str]]:
        """Where canaries were found, and which."""
        found = {where: canaries.found_in(bytes(data), where) for where, data in self.seen.items()}
        return {where: names for where, names in found.items() if names}
