"""PostgreSQL's data directory (a *cluster*): making one, telling a broken one, and how a server on it is set up."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from gateway.db.programs import MAJOR, ServerUser
from gateway.errors import StartError

#: PostgreSQL's superuser, and its database. There is nothing else in this server.
ROLE = "postgres"
_LAUNCHER = Path(__file__).with_name("launcher.py")
_INITDB_LIMIT = 120.0
_FULL = 1024 * 1024
_NO_SPACE = re.compile(rb"No space left on device|Check free disk space")
_COMPLAINT = re.compile(r"(?:FATAL|PANIC|initdb: error):\s+(.*)")


def launch_command(user: ServerUser, program: Path, *arguments: str) -> list[str]:
    """Run ``program`` as ``user`` until it ends or the calling thread's process does."""
    launcher = [sys.executable, "-I", "-S", str(_LAUNCHER), str(os.getpid()), str(user.uid), str(user.gid)]
    return [*launcher, str(program), *arguments]


#: Nothing of ours: PGPORT, PGDATA and their like would change what the programs do.
ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C"}


def ensure_cluster(cluster: Path, programs: Path, user: ServerUser) -> None:
    """Make the cluster if there is none; ``StartError`` if what is there is not one of this version's."""
    if not cluster.exists() or (cluster.is_dir() and not any(cluster.iterdir())):
        _initdb(cluster, programs, user)
        return
    if not cluster.is_dir():
        raise StartError(f"{cluster} is a file where PostgreSQL's data should be; move it away")
    try:
        found = (cluster / "PG_VERSION").read_text().strip()
    except FileNotFoundError:
        raise StartError(
            f"{cluster} is not empty and not PostgreSQL's data (it has no PG_VERSION); "
            "move it away, or choose another directory with --data-dir"
        ) from None
    if found != MAJOR:
        raise StartError(
            f"{cluster} was made by PostgreSQL {found}, this is PostgreSQL {MAJOR}; "
            "bring the data over with pg_dump, or choose another directory with --data-dir"
        )


def _initdb(cluster: Path, programs: Path, user: ServerUser) -> None:
    """Made under another name first: half a cluster is never taken for one."""
    fresh = cluster.with_name(f"{cluster.name}-new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(mode=0o700)
    if os.geteuid() == 0:
        os.chown(fresh, user.uid, user.gid)
    options = ("--no-locale", "--encoding=UTF8", f"--username={ROLE}", "--auth-local=peer", "--auth-host=reject")
    try:
        done = subprocess.run(
            launch_command(user, programs / "initdb", f"--pgdata={fresh}", *options),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=cluster.parent,
            env=ENVIRONMENT,
            timeout=_INITDB_LIMIT,
            check=False,
        )
        if done.returncode != 0:
            raise StartError(f"PostgreSQL's data could not be made in {cluster}: {complaint(done.stdout, fresh)}")
        if cluster.exists():
            cluster.rmdir()
        fresh.rename(cluster)
    except subprocess.TimeoutExpired:
        raise StartError(f"making PostgreSQL's data in {cluster} took over {_INITDB_LIMIT:g} seconds") from None
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def server_arguments(cluster: Path, own: Path, sockets: Path, settings: Mapping[str, str]) -> list[str]:
    """A server on ``cluster`` that only its owner can reach, over the socket in ``sockets``.

    ``own`` holds who may connect (see ``write_access``); ``settings`` are put over ours.
    """
    ours = {
        "listen_addresses": "",
        "port": "5432",
        "unix_socket_directories": '"' + str(sockets).replace('"', '""') + '"',
        "unix_socket_permissions": "0700",
        "hba_file": str(own / "pg_hba.conf"),
        "ident_file": str(own / "pg_ident.conf"),
        # Statements, their parameters and the rows they clash with are users' data: none of it belongs in a log.
        "log_statement": "none",
        "log_min_messages": "log",
        "log_min_error_statement": "panic",
        "log_error_verbosity": "terse",
        "log_parameter_max_length": "0",
        "log_parameter_max_length_on_error": "0",
        "log_checkpoints": "off",
        "logging_collector": "off",
    }
    pairs = {**ours, **settings}.items()
    return ["-D", str(cluster), *(argument for name, value in pairs for argument in ("-c", f"{name}={value}"))]


def write_access(own: Path, owner: str) -> None:
    """Who may connect: the operating system's user ``owner``, over the socket, as the kernel vouches for it.

    So another process of the user that PostgreSQL runs as (``nobody`` is shared by many) cannot. The files lie outside
    of the cluster because root must not write where that user could have put a link.
    """
    for name, line in (
        ("pg_hba.conf", f"local all {ROLE} peer map=owner"),
        ("pg_ident.conf", f'owner "{owner}" {ROLE}'),
    ):
        path = own / name
        path.write_text(f"# Written at every start.\n{line}\n")
        path.chmod(0o644)


def complaint(log: bytes, directory: Path) -> str:
    """What went wrong in ``directory``: the last line of the log that says so, else the last line."""
    if _NO_SPACE.search(log) or shutil.disk_usage(directory).free < _FULL:
        return "the disk is full"
    text = log.decode(errors="replace").strip()
    found = _COMPLAINT.findall(text)
    lines = text.splitlines()
    return str(found[-1]).strip() if found else lines[-1].strip() if lines else "it said nothing"
