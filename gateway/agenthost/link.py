"""One agent process and the ACP connection to it, from start to end."""

import asyncio
import contextlib
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from gateway import __version__
from gateway.agenthost import environment
from gateway.agenthost.catalogue import AgentSpec
from gateway.agenthost.credentials import AuthenticateCall, Credential
from gateway.agenthost.errors import (
    AgentDied,
    AgentFailed,
    AgentRefused,
    AgentStopped,
    AgentTimeout,
    AuthRequired,
)
from gateway.agenthost.homes import Home
from gateway.agenthost.process import ChildProcess, Lifeline
from gateway.agenthost.rpc import Connection, RequestError
from gateway.agenthost.settings import AgentHostConfig
from gateway.agenthost.terminals import Terminals
from gateway.errors import AgentUnavailable
from gateway.tasks import Tasks
from gateway.wire.masking import Masker

logger = logging.getLogger(__name__)

_PROTOCOL_VERSION = 1
#: ANSI escapes and other control characters, except tabs and line feeds.
_CONTROLS = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)|[\x00-\x08\x0b-\x1f\x7f]")
#: Members of an error's data that tell what went wrong, and characters of it that are told.
_DETAILS = ("details", "detail", "message", "error")
_MAX_DETAIL, _DEPTH = 2000, 2
_CAPABILITIES = {"fs": {"readTextFile": True, "writeTextFile": True}, "terminal": True}


class ClientSide(Protocol):
    """Handles the agent's notifications, requests and end."""

    def notified(self, link: "AgentLink", method: str, params: bytes) -> None: ...

    def requested(self, link: "AgentLink", method: str, params: Any) -> Any: ...

    async def answer(self, link: "AgentLink", method: str, params: Any) -> Any: ...

    def withdrawn(self, params: Any) -> bool:
        """Whether what the agent takes back has its answer now."""

    def unreadable(self, link: "AgentLink", text: bytes) -> None:
        """A message came of which no more can be told than that."""

    def ended(self, link: "AgentLink", text: str, *, stopped: bool) -> None:
        """The agent has ended; `stopped`: by us."""


class AgentLink:
    """A running agent. Its creator must await `end()`, even after the agent has died."""

    def __init__(
        self, spec: AgentSpec, process: ChildProcess, client: ClientSide, config: AgentHostConfig, lifeline: Lifeline
    ) -> None:
        self.spec = spec
        self.process = process
        self.terminals = Terminals(lifeline, grace=config.stop_timeout)
        #: What is brought to its end for the agent, even if it takes the request for it back.
        self.tasks = Tasks()
        #: The answer to `initialize`.
        self.agent: dict[str, Any] = {}
        #: Prompts in progress, and sessions being placed on it.
        self.turns = 0
        self.credential: Credential | None = None
        #: Why it accepts no more work, and ends when it has none.
        self.retired: str | None = None
        #: For commands that the agent runs.
        self.terminal_env: dict[str, str] = {}
        #: Masks its secrets in its output.
        self.masker = Masker()
        self._home: Home | None = None
        self._client = client
        self._config = config
        self._problem: str | None = None
        self._stopping = False
        self._output_ended = asyncio.Event()
        self._gone: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._connection = Connection(process.stdout, process.stdin, self, line_limit=config.line_limit)
        self._watcher = asyncio.create_task(self._watch(), name=f"agent {spec.id}")

    @classmethod
    async def start(
        cls,
        spec: AgentSpec,
        *,
        cwd: Path,
        given_env: Mapping[str, str],
        client: ClientSide,
        config: AgentHostConfig,
        lifeline: Lifeline,
        credential: Credential | None = None,
        home: Home | None = None,
    ) -> "AgentLink":
        """Spawn the agent, initialise it, and authenticate if its credential or catalogue entry says so.

        `home` is for the credential's files. Raises AgentUnavailable, AgentFailed, AgentDied or AgentTimeout.
        """
        given = given_env if credential is None else {**given_env, **credential.env}
        env = environment.for_agent(spec, config.environment, given)
        secrets: frozenset[str] = frozenset()
        if credential is not None:
            env = credential.over(env, {} if home is None else home.enter(credential.files))
            secrets = credential.secrets
        try:
            link = await cls._spawn(spec, env, cwd, client, config, lifeline)
        except BaseException:
            if home is not None:
                home.leave()
            raise
        link.credential, link._home = credential, home
        link.masker = Masker(secrets | environment.secrets_of(spec, env))
        link.terminal_env = environment.without_credentials(spec, env, credential.variables if credential else ())
        try:
            await link._initialize(env)
        except BaseException:
            await link.end()
            raise
        return link

    @classmethod
    async def _spawn(
        cls,
        spec: AgentSpec,
        env: Mapping[str, str],
        cwd: Path,
        client: ClientSide,
        config: AgentHostConfig,
        lifeline: Lifeline,
    ) -> "AgentLink":
        if (program := environment.find_program(spec, env)) is None:
            raise AgentUnavailable(spec.not_installed)
        try:
            process = await ChildProcess.start(
                (program, *spec.command[1:]), cwd=cwd, env=env, lifeline=lifeline, grace=config.stop_timeout
            )
        except OSError as exc:
            raise AgentFailed(f"{spec.id}: cannot be started: {exc.strerror}") from exc
        return cls(spec, process, client, config, lifeline)

    @property
    def alive(self) -> bool:
        return not (self._stopping or self._output_ended.is_set())

    @property
    def usable(self) -> bool:
        """Whether it accepts more work."""
        return self.alive and self.retired is None

    @property
    def owner(self) -> str | None:
        return None if self.credential is None else self.credential.owner

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Around work that a retirement must not interrupt."""
        self.turns += 1
        try:
            yield
        finally:
            self.turns -= 1
            self._end_where_retired()

    def retire(self, reason: str) -> None:
        """Accept no more work, and end when the current work is done."""
        self.retired = reason
        self._end_where_retired()

    def _end_where_retired(self) -> None:
        if self.retired is not None and not self.turns and self.alive:
            self._stopping = True
            self._output_ended.set()

    @property
    def capabilities(self) -> dict[str, Any]:
        """ACP's `agentCapabilities`."""
        return _object(self.agent.get("agentCapabilities"))

    def has(self, name: str) -> bool:
        """Whether the agent has one of ACP's `sessionCapabilities`."""
        return _object(self.capabilities.get("sessionCapabilities")).get(name) is not None

    async def request(
        self,
        method: str,
        params: dict[str, Any],
        *,
        timeout: float | None = None,
        on_result: Callable[[dict[str, Any]], None] | None = None,
    ) -> dict[str, Any]:
        """Call the agent; without a timeout, until it answers or ends.

        `on_result` gets the result before anything that the agent says after it is taken. Raises AgentDied,
        AgentStopped, AgentTimeout, AuthRequired, or AgentRefused for other errors of the agent.
        """
        try:
            async with asyncio.timeout(timeout):
                told = None if on_result is None else lambda result: on_result(_object(result))
                return _object(await self._connection.request(method, params, on_result=told))
        except RequestError as exc:
            raise self._refusal(exc) from exc
        except TimeoutError as exc:
            raise AgentTimeout(f"{self.spec.id}: no answer to {method} within {timeout:g} seconds") from exc
        except ConnectionError as exc:
            # The reason is known once the process has been waited for.
            text = await asyncio.shield(self._gone)
            raise (AgentStopped if self._stopping else AgentDied)(text) from exc

    async def notify(self, method: str, params: dict[str, Any]) -> None:
        """Send a notification; an agent that has ended or does not read is ignored."""
        with contextlib.suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(self._config.cancel_timeout):
                await self._connection.notify(method, params)

    async def end(self) -> None:
        """Stop the agent and everything that it has started. May be called again."""
        self._stopping = self._stopping or not self._output_ended.is_set()
        self._output_ended.set()
        await self._watcher

    def redact(self, text: str) -> str:
        return self.masker.mask_text(text)

    # `rpc.Peer`.

    def notified(self, method: str, params: bytes) -> None:
        self._client.notified(self, method, params)

    def requested(self, method: str, params: Any) -> Any:
        return self._client.requested(self, method, params)

    async def answer(self, method: str, params: Any) -> Any:
        return await self._client.answer(self, method, params)

    def withdrawn(self, params: Any) -> bool:
        return self._client.withdrawn(params)

    def unreadable(self, text: bytes) -> None:
        self.process.tail.add(text + b"\n")
        if b'"jsonrpc"' in text:
            self._client.unreadable(self, text)

    def ended(self, problem: str | None) -> None:
        self._problem = problem
        self._output_ended.set()

    async def _initialize(self, env: Mapping[str, str]) -> None:
        timeout = self._config.start_timeout
        self.agent = await self.request(
            "initialize",
            {
                "protocolVersion": _PROTOCOL_VERSION,
                "clientCapabilities": _CAPABILITIES,
                "clientInfo": {"name": "acp-gateway", "title": "ACP gateway", "version": __version__},
            },
            timeout=timeout,
        )
        if self.agent.get("protocolVersion") != _PROTOCOL_VERSION:
            raise AgentFailed(
                f"{self.spec.id}: speaks version {self.agent.get('protocolVersion')} of ACP, not {_PROTOCOL_VERSION}"
            )
        if (method := self._method(env)) is not None:
            params: dict[str, Any] = {"methodId": method.method_id}
            if method.meta is not None:
                params["_meta"] = method.meta
            await self.request("authenticate", params, timeout=timeout)

    def _method(self, env: Mapping[str, str]) -> AuthenticateCall | None:
        """The credential's method, or the catalogue's first one with its variables set, if the agent offers it."""
        offered = {_object(one).get("id") for one in self.agent.get("authMethods") or ()}
        wanted = None if self.credential is None else self.credential.authenticate
        if wanted is not None:
            if wanted.method_id in offered:
                return wanted
            extra = {"agent": self.spec.id, "method": wanted.method_id}
            logger.warning("the agent does not offer the method that its credential is for", extra=extra)
        for method in self.spec.authenticate:
            if method.method_id in offered and all(env.get(name) for name in method.needs):
                return AuthenticateCall(method_id=method.method_id, meta=method.meta)
        return None

    def _refusal(self, exc: RequestError) -> AuthRequired | AgentRefused:
        detail = _detail(exc.data)
        text = self.redact(f"{exc}: {detail}" if detail not in str(exc) else str(exc))
        if self.spec.is_refusal(exc.code, str(exc), detail):
            return AuthRequired(f"{self.spec.id}: {text}")
        return AgentRefused(f"{self.spec.id}: {text}", rpc_code=exc.code)

    async def _watch(self) -> None:
        """Wait for the agent's end, clean up, and report why it ended."""
        await self._output_ended.wait()
        text = f"{self.spec.id}: ended"
        try:
            await self._connection.close()
            await self.tasks.close(grace=self._config.stop_timeout)
            text = self._obituary(await self._clear_away())
            self._client.ended(self, text, stopped=self._stopping)
        finally:
            self._gone.set_result(text)

    async def _clear_away(self) -> int | None:
        """End all its processes; the agent's own exit status, if it had one."""
        if not self._stopping:
            # It has closed its output: give it a moment to exit by itself.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._config.stop_timeout):
                    await self.process.wait()
        returncode = self.process.returncode
        try:
            await self.terminals.close()
            await self.process.end()
        finally:
            if self._home is not None:
                self._home.leave()
        logger.info("agent ended", extra={"agent": self.spec.id, "status": returncode, "stopped": self._stopping})
        return returncode

    def _obituary(self, returncode: int | None) -> str:
        if self._stopping:
            return f"{self.spec.id}: stopped"
        if self._problem is not None:
            text = f"was ended because {self._problem}"
        elif returncode is None:
            text = "closed its output and was ended"
        elif returncode < 0:
            text = f"was killed by signal {-returncode}"
        else:
            text = f"ended with exit status {returncode}"
        tail = self.printed()
        return f"{self.spec.id}: {text}" + (f"; its last words: {tail}" if tail else "")

    def printed(self) -> str:
        """The end of what it has printed, without control characters and secrets."""
        # Control characters first: they may stand in the middle of a secret.
        tail = self.redact(_CONTROLS.sub("", self.process.tail.text()))
        if self.process.tail.full:
            # It may begin in the middle of a secret, which would not be recognised.
            tail = tail[max(map(len, self.masker.secrets), default=0) :]
        return tail.strip()


def _detail(data: Any) -> str:
    """What an error's data says, as a text or in a member, which may be a provider's error object."""
    told = data
    for _ in range(_DEPTH):
        told = next((told[name] for name in _DETAILS if told.get(name)), "") if isinstance(told, dict) else told
    return told.strip()[:_MAX_DETAIL] if isinstance(told, str) else ""


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
