"""A model, a home, an agent host with a real OpenCode in it, and a door to it, all on loopback.

Servers run in this process; ``opencode serve`` and the agents are programs of their own.
"""

import asyncio
import re
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import attrs
import psutil
from aiohttp import web

from gateway.agenthost.app import build_app as build_agent_host
from gateway.agenthost.catalogue import BUILT_IN
from gateway.agenthost.settings import AgentHostConfig
from gateway.app import build_app
from gateway.config.schema import Config, DatabaseConfig
from tests.fakes.eventually import eventually
from tests.fakes.listening import listen
from tests.fakes.model import FakeModel
from tests.opencode.doors import PATIENCE, Door, GatewayDoor, HostDoor
from tests.opencode.world import World
from tests.program import free_ports
from tests.world import LOCAL


@attrs.frozen(kw_only=True)
class Place:
    """What a scenario needs."""

    model: FakeModel
    workspace: Path
    door: Door
    program: Path
    host: web.AppRunner

    def agents(self) -> list[psutil.Process]:
        """The OpenCode processes that this process has started."""
        return [process for process in psutil.Process().children(recursive=True) if self._is_agent(process)]

    def _is_agent(self, process: psutil.Process) -> bool:
        try:
            return process.cmdline()[:2] == [str(self.program), "acp"]
        except psutil.Error:
            return False

    async def stop_agents(self) -> None:
        """End the agent host."""
        await self.host.cleanup()


@asynccontextmanager
async def serve(app: web.Application) -> AsyncIterator[tuple[web.AppRunner, str]]:
    """An application on a free port of loopback, and its address."""
    runner = web.AppRunner(app, auto_decompress=False, handler_cancellation=True, shutdown_timeout=1)
    await runner.setup()
    try:
        site = await listen(runner)
        yield runner, f"http://127.0.0.1:{site.port}"
    finally:
        await runner.cleanup()


def host_configuration(program: Path, world: World, model: FakeModel) -> AgentHostConfig:
    """An agent host whose OpenCode is ``program``, living in ``world`` and thinking with ``model``."""
    spec = BUILT_IN["opencode"]
    env = {**spec.env, **world.opencode_environment(model.url)}
    opencode = attrs.evolve(spec, command=(str(program), "acp"), env=env)
    return AgentHostConfig(
        workspace=world.workspace, catalogue={"opencode": opencode}, environment=world.host_environment()
    )


@asynccontextmanager
async def beside_the_agent_host(program: Path, root: Path) -> AsyncIterator[Place]:
    """A place whose door is the agent host itself."""
    async with agent_host(program, root) as (model, workspace, host, url):
        async with aiohttp.ClientSession(url) as http, HostDoor(http) as door:
            yield Place(model=model, workspace=workspace, door=door, program=program, host=host)


@asynccontextmanager
async def before_the_gateway(program: Path, root: Path, database_url: str) -> AsyncIterator[Place]:
    """A place whose door is a gateway, with the agent host as the container of its one project."""
    async with agent_host(program, root) as (model, workspace, host, container_url):
        async with gateway(database_url) as http:
            project = await register(http, containerUrl=container_url, acpUrl=container_url)
            async with GatewayDoor(http, project) as door:
                yield Place(model=model, workspace=workspace, door=door, program=program, host=host)


@asynccontextmanager
async def gateway(database_url: str) -> AsyncIterator[aiohttp.ClientSession]:
    """A client of a gateway on that database."""
    config = Config(database=DatabaseConfig(url=database_url), identity=LOCAL)
    async with serve(build_app(config)) as (_, url), aiohttp.ClientSession(url) as http:
        yield http


async def register(http: aiohttp.ClientSession, **addresses: str) -> str:
    """A new project; returns its id."""
    async with http.post("/api/projects", json=addresses) as answer:
        assert answer.status == 201, await answer.text()
        return (await answer.json())["id"]


@asynccontextmanager
async def agent_host(program: Path, root: Path) -> AsyncIterator[tuple[FakeModel, Path, web.AppRunner, str]]:
    """A model, a workspace, an agent host for both, and its address."""
    world = World.create(root)
    async with FakeModel() as model:
        app = build_agent_host(host_configuration(program, world, model))
        async with serve(app) as (runner, url):
            yield model, world.workspace, runner, url


@asynccontextmanager
async def opencode_serve(program: Path, root: Path, model: FakeModel) -> AsyncIterator[str]:
    """A running ``opencode serve``; its address, as a project's ``containerUrl`` has it."""
    world = World.create(root)
    # Without a port of its own it takes 4096 where that is free.
    command = [program, "serve", "--hostname", "127.0.0.1", "--port", str(free_ports(1))]
    env = {**world.host_environment(), **world.opencode_environment(model.url)}
    try:
        async with _serving(command, world.workspace, env, root / "first.txt", within=PATIENCE / 2) as url:
            yield url
    except SilentError:
        # Seen once in some hundred starts.
        async with _serving(command, world.workspace, env, root / "second.txt", within=PATIENCE) as url:
            yield url


class SilentError(Exception):
    """``opencode serve`` has not said where it listens; its exit status if it has ended, and what it said."""


@asynccontextmanager
async def _serving(
    command: list[str | Path], directory: Path, env: dict[str, str], output: Path, *, within: float
) -> AsyncIterator[str]:
    with output.open("wb") as file:
        server = subprocess.Popen(command, cwd=directory, env=env, stdout=file, stderr=file)  # noqa: ASYNC220

    def ended_or_listening() -> bool:
        return server.poll() is not None or bool(_address(output))

    try:
        with suppress(AssertionError):
            await eventually(ended_or_listening, within=within)
        if not (url := _address(output)):
            raise SilentError(server.poll(), await asyncio.to_thread(output.read_text))
        yield url
    finally:
        server.terminate()
        try:
            await asyncio.to_thread(server.wait, 10)
        except subprocess.TimeoutExpired:
            server.kill()
            await asyncio.to_thread(server.wait)


def _address(output: Path) -> str | None:
    said = re.search(r"listening on (http://\S+)", output.read_text())
    return said and said[1]
