"""The directory that agents' files, sessions and terminals stay in, after symbolic links are resolved."""

import os
import stat
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from gateway.agenthost.errors import OutsideWorkspace
from gateway.errors import BadRequest, NotFound
from gateway.wire.events import FileWritten
from gateway.wire.lines import lines_of

#: Bytes of a file that an agent may read in one call.
FILE_LIMIT = 32 * 1024 * 1024
#: Bytes of a text that is told of a written file.
TOLD_LIMIT = 256 * 1024
#: Stands for a file that may be written and not read; no text is this.
_UNREADABLE = b"\xff"


class Workspace:
    """Paths inside one root."""

    def __init__(self, root: Path) -> None:
        self.root = Path(os.path.realpath(root))

    def resolve(self, path: str) -> Path:
        """The resolved path, existing or not; OutsideWorkspace if it is not inside the root."""
        if "\0" in path:
            raise BadRequest("a path cannot hold a NUL character")
        resolved = Path(os.path.realpath(self.root / path))
        if not resolved.is_relative_to(self.root):
            raise OutsideWorkspace(f"{path} is outside the workspace")
        return resolved

    def directory(self, path: str | None) -> Path:
        """An existing directory inside the workspace, relative to the root; None is the root."""
        resolved = self.root if path is None else self.resolve(path)
        if not resolved.is_dir():
            raise BadRequest(f"{path or resolved} is not a directory of the workspace")
        return resolved

    def read_text(self, path: str, *, line: int | None = None, limit: int | None = None) -> str:
        """A file's text, or `limit` lines from `line` (from 1). Blocking: call it in a thread."""
        try:
            with self._open(path, os.O_RDONLY) as file:
                raw = file.read(FILE_LIMIT + 1)
        except FileNotFoundError as exc:
            raise NotFound(f"{path} does not exist") from exc
        if len(raw) > FILE_LIMIT:
            raise BadRequest(f"{path} is larger than {FILE_LIMIT} bytes")
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError as exc:
            raise BadRequest(f"{path} is not UTF-8 text") from exc
        if line is None and limit is None:
            return text
        begin = max(0, (line or 1) - 1)
        return "".join(islice(lines_of(text), begin, None if limit is None else begin + limit))

    def write_text(self, path: str, content: str) -> FileWritten:
        """Write a file, creating missing directories; what has changed. Blocking: call it in a thread."""
        data = content.encode("utf-8", "surrogatepass")
        before = self._beginning(path)
        self.resolve(path).parent.mkdir(parents=True, exist_ok=True)
        with self._open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) as file:
            file.write(data)
        old, new = None if before is None else _told(before), _told(data)
        texts = (("oldText", before, old), ("newText", data, new))
        omitted = tuple(name for name, raw, text in texts if raw is not None and text is None)
        return FileWritten(path=path, size=len(data), old_text=old, new_text=new, omitted=omitted)

    def _beginning(self, path: str) -> bytes | None:
        """As much of a file as is told, and a byte more; None if there is none."""
        try:
            with self._open(path, os.O_RDONLY) as file:
                return file.read(TOLD_LIMIT + 1)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except PermissionError:
            return _UNREADABLE

    def _open(self, path: str, flags: int) -> BinaryIO:
        # The path is resolved, so a link in its last place is new. O_NONBLOCK: a FIFO would wait for its other end.
        descriptor = os.open(self.resolve(path), flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise BadRequest(f"{path} is not a file")
        return open(descriptor, "rb" if flags == os.O_RDONLY else "wb")


def _told(raw: bytes) -> str | None:
    """A text that is told; None if it is too large, or no text."""
    try:
        return raw.decode("utf-8") if len(raw) <= TOLD_LIMIT else None
    except UnicodeDecodeError:
        return None
