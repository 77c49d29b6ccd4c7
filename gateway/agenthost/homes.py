"""Directories of one owner's agent: a credential's files while a process runs, and what the agent writes beside them.

They are outside the workspace, and private to the host's user. The credential's files are deleted with the last process
that reads them or, if the host was killed, at its next start. The agent's own files stay, so that its next process
finds its sessions.
"""

import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from gateway.agenthost.credentials import CredentialFile
from gateway.agenthost.errors import AgentFailed

_NAME = "acp-agent-host"
_WRITTEN = ".written"


class Home:
    """The directories of one agent for one owner."""

    def __init__(self, root: Path) -> None:
        self._root = root
        #: Processes that may read the files.
        self._users = 0

    def enter(self, files: Sequence[CredentialFile]) -> dict[str, str]:
        """Write the files for one more process; the variables that lead to them. `leave` deletes them."""
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._users += 1
        directories = {file.variable: self._root / file.variable for file in files}
        # First the list of files to delete, so that none is forgotten if the host is killed now. It keeps the files of
        # older versions, which a running process may still read.
        names = {*_written(self._root), *(f"{file.variable}/{file.path}" for file in files)}
        (self._root / _WRITTEN).write_text(json.dumps(sorted(names)))
        for file in files:
            self._write(directories[file.variable] / file.path, file)
        return {variable: str(path) for variable, path in directories.items()}

    def leave(self) -> None:
        self._users -= 1
        if self._users <= 0:
            forget_files(self._root)

    def remove(self) -> None:
        """Delete everything, the agent's own files too."""
        shutil.rmtree(self._root, ignore_errors=True)

    def _write(self, path: Path, file: CredentialFile) -> None:
        parent = self._root
        for part in path.relative_to(self._root).parts[:-1]:
            parent /= part
            parent.mkdir(mode=0o700, exist_ok=True)
        # Replaced atomically: a running process may be reading the old one.
        descriptor, name = tempfile.mkstemp(dir=parent, prefix=".new-")
        with open(descriptor, "w", encoding="utf-8") as new:
            new.write(file.content)
            os.fchmod(new.fileno(), int(file.mode, 8))
        os.replace(name, path)


class Homes:
    """All homes, by agent and owner."""

    def __init__(self, workspace: Path, environment: Mapping[str, str]) -> None:
        self._workspace = workspace
        # Hosts of several workspaces may share a home directory; each deletes only its own files.
        self._name = f"{_NAME}/{_digest(str(workspace))}"
        self._environment = environment
        self._homes: dict[tuple[str, str], Home] = {}

    def of(self, agent_id: str, owner: str) -> Home:
        key = (agent_id, owner)
        if key not in self._homes:
            # Hashed, so that a listing does not show the owner's name.
            self._homes[key] = Home(self._root() / _digest("\0".join(key)))
        return self._homes[key]

    def remove(self, agent_id: str, owner: str) -> None:
        """Delete the home of this agent and owner, the agent's own files too."""
        if (home := self._homes.pop((agent_id, owner), None)) is not None:
            home.remove()

    def clear(self) -> None:
        """Delete credentials that a killed host has left."""
        for place in self._places():
            for root in (place / self._name).glob("*"):
                forget_files(root)

    def _root(self) -> Path:
        for place in self._places():
            if _make_private(place / _NAME) and _make_private(place / self._name):
                return place / self._name
        raise AgentFailed("there is no directory outside the workspace where a credential's files could be put")

    def _places(self) -> list[Path]:
        """Possible parent directories, persistent ones first."""
        state, home = self._environment.get("XDG_STATE_HOME"), self._environment.get("HOME")
        named = [state, None if home is None else f"{home}/.local/state", tempfile.gettempdir()]
        places = [Path(os.path.realpath(place)) for place in named if place]
        return [place for place in places if not place.is_relative_to(self._workspace)]


def _make_private(path: Path) -> bool:
    """Create a private directory; whether it is one now."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = path.lstat()
    except OSError:
        return False
    # Somebody may have put a link or a directory of theirs there.
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and status.st_mode & 0o077 == 0


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:32]


def forget_files(root: Path) -> None:
    """Delete the listed credential files below `root`."""
    for path in _written(root):
        (root / path).unlink(missing_ok=True)
    (root / _WRITTEN).unlink(missing_ok=True)


def _written(root: Path) -> list[str]:
    try:
        written: list[str] = json.loads((root / _WRITTEN).read_text())
    except (OSError, ValueError):
        return []
    return written
