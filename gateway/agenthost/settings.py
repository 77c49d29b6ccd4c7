"""What the agent host is started with."""

from collections.abc import Mapping
from pathlib import Path

import attrs

from gateway.agenthost.catalogue import BUILT_IN, AgentSpec

MIB = 1024 * 1024


@attrs.frozen(kw_only=True)
class AgentHostConfig:
    """Given by the command line; nothing below it reads a file or an environment variable."""

    #: The directory that agents work in; sessions, files and terminals stay inside it.
    workspace: Path
    #: What `GET /info` calls this host.
    name: str = "agent-host"
    #: The shared secret (``ACP_HOST_TOKEN``): every call but `/health` needs it as a bearer token. None: no secret.
    token: str | None = attrs.field(default=None, repr=False)
    #: Whether it listens where only this machine reaches it. Elsewhere it is asked by any address, too.
    loopback_only: bool = True
    #: Further names by which it is asked; ``*.example.org`` is every name below that one.
    allowed_hosts: tuple[str, ...] = ()
    #: The agents by id; `catalogue.load(path)` adds an operator's.
    catalogue: Mapping[str, AgentSpec] = attrs.field(default=BUILT_IN, repr=False)
    #: The host's own environment. Agents get the part of it that `environment.scrub` lets through.
    environment: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    #: Seconds a permission request waits for its answer; then it is cancelled, never allowed.
    permission_timeout: float = 600.0
    #: Seconds an agent may take to initialise, authenticate, make or load a session.
    start_timeout: float = 60.0
    #: Seconds each step of ending a process may take: stdin closed, terminated, killed.
    stop_timeout: float = 3.0
    #: Seconds a cancel call waits for the turn's end.
    cancel_timeout: float = 5.0
    #: How much the event journal keeps, in events and in bytes; what is older can no longer be replayed.
    journal_size: int = 20_000
    journal_bytes: int = 64 * MIB
    #: Seconds between comments on a quiet event stream; the contract says 15 at most.
    heartbeat: float = 10.0
    #: Seconds a client of an event stream may leave a write unread before it is dropped.
    stall_timeout: float = 30.0
    #: Bytes of one line of an agent; images and diffs come as one line. A longer one ends the agent.
    line_limit: int = 64 * MIB
    #: Bytes of a request's body.
    body_limit: int = 32 * MIB
