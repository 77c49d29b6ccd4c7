"""The settings of the agent host."""

from collections.abc import Mapping
from pathlib import Path

import attrs

from gateway.agenthost.catalogue import BUILT_IN, AgentSpec

MIB = 1024 * 1024


@attrs.frozen(kw_only=True)
class AgentHostConfig:
    """All settings; the agent host reads no file or variable itself."""

    #: The directory that agents work in; sessions, files and terminals stay inside it.
    workspace: Path
    #: In `GET /info`.
    name: str = "agent-host"
    #: The shared secret (``ACP_HOST_TOKEN``), a bearer token for every call except `/health`. None: no secret.
    token: str | None = attrs.field(default=None, repr=False)
    #: Whether only this machine can reach it; otherwise any IP address is accepted as `Host`.
    loopback_only: bool = True
    #: Further host names; ``*.example.org`` is every name below that one.
    allowed_hosts: tuple[str, ...] = ()
    #: Agents by id; `catalogue.load(path)` adds an operator's.
    catalogue: Mapping[str, AgentSpec] = attrs.field(default=BUILT_IN, repr=False)
    #: The host's own environment; agents get what `environment.scrub` allows.
    environment: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    #: Seconds after which an unanswered permission request is cancelled.
    permission_timeout: float = 600.0
    #: Seconds to initialise, authenticate, open or load a session.
    start_timeout: float = 60.0
    #: Seconds for each step of ending a process: stdin closed, terminated, killed.
    stop_timeout: float = 3.0
    #: Seconds that a cancel call waits for the turn's end.
    cancel_timeout: float = 5.0
    #: How many events and bytes the journal keeps for replay.
    journal_size: int = 20_000
    journal_bytes: int = 64 * MIB
    #: Seconds between comments on a quiet event stream; the contract says 15 at most.
    heartbeat: float = 10.0
    #: Seconds after which a client of an event stream that does not read is disconnected.
    stall_timeout: float = 30.0
    #: Bytes of one line of an agent, which may be an image or a diff. A longer one ends the agent.
    line_limit: int = 64 * MIB
    #: Bytes of a request's body.
    body_limit: int = 32 * MIB
