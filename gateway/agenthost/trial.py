"""Tries agents: whether each is found, starts and speaks ACP, and what it can."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs

from gateway.agenthost import environment
from gateway.agenthost.catalogue import AgentSpec
from gateway.agenthost.link import AgentLink
from gateway.agenthost.node import NodeVersions
from gateway.agenthost.process import Lifeline
from gateway.agenthost.rpc import METHOD_NOT_FOUND, RequestError
from gateway.agenthost.settings import AgentHostConfig
from gateway.errors import GatewayError

#: Names of what agents can, in the order in which they are told.
_CAN = ("load", "resume", "fork", "list", "image", "audio", "context", "http", "sse")
_SPACES = re.compile(r"\s+")


@attrs.frozen(kw_only=True)
class Tried:
    """What came of an agent; ``problem``: why it does not start."""

    id: str
    name: str
    program: str | None = None
    version: str | None = None
    can: tuple[str, ...] = ()
    logins: tuple[str, ...] = ()
    warning: str | None = None
    problem: str | None = None

    @property
    def works(self) -> bool:
        return self.program is not None and self.problem is None


class _Nobody:
    """A client that answers nothing: a trial has no session."""

    def notified(self, link: AgentLink, method: str, params: bytes) -> None: ...

    def requested(self, link: AgentLink, method: str, params: Any) -> Any:
        return params

    async def answer(self, link: AgentLink, method: str, params: Any) -> Any:
        raise RequestError(METHOD_NOT_FOUND, "Method not found")

    def withdrawn(self, params: Any) -> bool:
        return False

    def unreadable(self, link: AgentLink, text: bytes) -> None: ...

    def ended(self, link: AgentLink, text: str, *, stopped: bool) -> None: ...


class Trial:
    """Tries agents one after the other."""

    def __init__(self, host: Mapping[str, str], workspace: Path, *, seconds: float) -> None:
        """``host``: the environment of this process. ``seconds``: what each agent may take to start."""
        self._config = AgentHostConfig(workspace=workspace, environment=host, start_timeout=seconds, stop_timeout=1.0)
        self._nodes = NodeVersions()

    async def look(self, spec: AgentSpec) -> Tried:
        """Whether its program is there, without running it."""
        env = environment.for_agent(spec, self._config.environment, {})
        program = environment.find_program(spec, env)
        return Tried(
            id=spec.id,
            name=spec.name,
            program=program,
            warning=await self._nodes.warning(spec, env),
            problem=None if program else spec.install or "its program is not in PATH",
        )

    async def run(self, spec: AgentSpec) -> Tried:
        """Start it and initialise it."""
        tried = await self.look(spec)
        if tried.program is None:
            return tried
        try:
            with _lifeline() as lifeline:
                link = await AgentLink.start(
                    # Whether its account works is nothing to try here.
                    attrs.evolve(spec, authenticate=()),
                    cwd=self._config.workspace,
                    given_env={},
                    client=_Nobody(),
                    config=self._config,
                    lifeline=lifeline,
                )
                await link.end()
        except GatewayError as exc:
            return attrs.evolve(tried, problem=_SPACES.sub(" ", str(exc).removeprefix(f"{spec.id}: ")).strip())
        version = _object(link.agent.get("agentInfo")).get("version")
        logins = [_object(one).get("id") for one in link.agent.get("authMethods") or ()]
        return attrs.evolve(
            tried,
            version=version if isinstance(version, str) else None,
            can=tuple(name for name in _CAN if name in set(_abilities(link))),
            logins=tuple(login for login in logins if isinstance(login, str)),
        )


def _abilities(link: AgentLink) -> Iterator[str]:
    if link.capabilities.get("loadSession") is True:
        yield "load"
    yield from (name for name in ("resume", "fork", "list") if link.has(name))
    prompts = _object(link.capabilities.get("promptCapabilities"))
    names = {"image": "image", "audio": "audio", "embeddedContext": "context"}
    yield from (name for member, name in names.items() if prompts.get(member) is True)
    servers = _object(link.capabilities.get("mcpCapabilities"))
    yield from (name for name in ("http", "sse") if servers.get(name) is True)


@contextmanager
def _lifeline() -> Iterator[Lifeline]:
    lifeline = Lifeline()
    try:
        yield lifeline
    finally:
        lifeline.close()


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
