"""What each command of ``acp-gateway`` does, once its options are in the configuration."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import attrs

from gateway.agenthost import catalogue
from gateway.agenthost.app import AgentHostConfig
from gateway.agenthost.app import build_app as build_agent_host
from gateway.app import build_app
from gateway.config import Config, environment, is_loopback
from gateway.db.embedded import EmbeddedPostgres, default_data_dir
from gateway.db.migrate import migrate
from gateway.errors import ConfigError, ProjectNotFound, StartError
from gateway.keys import PROJECTS
from gateway.middleware.identity import LOCAL_USER
from gateway.projects import NewProject, Projects
from gateway.proxy.upstream import Upstream
from gateway.serving import bind, serving, until_stopped

SIDECAR_PROJECT = "default"
DEMO_PROJECT = DEMO_AGENT = "demo"

Say = Callable[[str], None]


async def up(config: Config, container_port: int, say: Say) -> None:
    """The whole product on this machine: PostgreSQL, an agent host in a container's place, the gateway, a project."""
    began = time.monotonic()
    _refuse_strangers(config)
    host_config = attrs.evolve(config.agent_host, host="127.0.0.1", port=container_port + 1)
    async with AsyncExitStack() as stack:
        gateway_socket = stack.enter_context(
            bind(config.server.host, config.server.port, purpose="The gateway", option="--port")
        )
        host_socket = stack.enter_context(
            bind(host_config.host, host_config.port, purpose="The agent host", option="--container-port")
        )
        workspace = _workspace(config)
        config = await stack.enter_async_context(_database(config, say))
        containers = attrs.evolve(
            config.containers, opencode_port=container_port, acp_port=container_port + 1, token=host_config.token
        )
        config = attrs.evolve(config, containers=containers, agent_host=host_config)
        agent_host = build_agent_host(_agent_host_config(config, workspace))
        await stack.enter_async_context(serving(agent_host, host_socket, shutdown_timeout=5))
        say(f"agent host    http://{host_config.host}:{host_config.port} (workspace {workspace})")
        app = build_app(config)
        timeout = config.server.shutdown_timeout
        await stack.enter_async_context(serving(app, gateway_socket, shutdown_timeout=timeout))
        address = f"http://127.0.0.1:{container_port}"
        await _register(app[PROJECTS], DEMO_PROJECT, address, default_agent_id=DEMO_AGENT)
        base = _base_url(config)
        say(f"gateway       {base}")
        say(f"project       {base}/api/projects/{DEMO_PROJECT} (container {address})")
        say(_welcome(f"{base}/api/projects/{DEMO_PROJECT}/acp", time.monotonic() - began))
        await until_stopped()
        say("\nstopping")
    say("stopped; start again with the same command, everything is kept")


async def serve(config: Config, container: str | None, say: Say) -> None:
    """The gateway alone; with ``container``, in front of that one."""
    _refuse_strangers(config)
    if container is not None:
        _check_address(container)
    async with AsyncExitStack() as stack:
        sock = stack.enter_context(bind(config.server.host, config.server.port, purpose="The gateway", option="--port"))
        config = await stack.enter_async_context(_database(config, say))
        app = build_app(config)
        timeout = config.server.shutdown_timeout
        await stack.enter_async_context(serving(app, sock, shutdown_timeout=timeout))
        if container is not None:
            await _register(app[PROJECTS], SIDECAR_PROJECT, container, default_agent_id=None)
            say(f"project       {_base_url(config)}/api/projects/{SIDECAR_PROJECT} (container {container})")
        say(f"gateway       {_base_url(config)}")
        await until_stopped()


async def agent_host(config: Config, say: Say) -> None:
    """The agent host alone, as it runs inside a container."""
    settings = config.agent_host
    if not settings.token and not is_loopback(settings.host):
        raise ConfigError(
            f"The agent host runs programs for whoever reaches it: to listen on {settings.host} set ACP_HOST_TOKEN, "
            "and the same secret as containers.token of the gateway"
        )
    with bind(settings.host, settings.port, purpose="The agent host", option="--port") as sock:
        app = build_agent_host(_agent_host_config(config, _workspace(config)))
        async with serving(app, sock, shutdown_timeout=5):
            say(f"agent host    http://{settings.host}:{settings.port} (workspace {settings.workspace})")
            await until_stopped()


async def migrate_database(config: Config, say: Say) -> None:
    """Bring the database's schema up to date, and stop."""
    async with _database(config, say):
        pass


@asynccontextmanager
async def _database(config: Config, say: Say) -> AsyncIterator[Config]:
    """The configuration with a database that is there and up to date: the configured one, else the embedded one."""
    server = None
    if not config.database.url:
        data_dir = Path(config.embedded.data_dir) if config.embedded.data_dir else default_data_dir(environment())
        server = await asyncio.to_thread(EmbeddedPostgres.start, data_dir)
        say(f"PostgreSQL    {data_dir} (log: {data_dir / 'postgres.log'})")
        config = attrs.evolve(config, database=attrs.evolve(config.database, url=server.url))
    else:
        say("PostgreSQL    the one that database.url names")
    try:
        applied = await asyncio.to_thread(migrate, config.database.url)
        say(f"migrations    {', '.join(applied) if applied else 'up to date'}")
        yield config
    finally:
        if server is not None:
            await asyncio.to_thread(server.stop)


async def _register(projects: Projects, project_id: str, address: str, *, default_agent_id: str | None) -> None:
    """Have the project point at this address; what else was set of it stays."""
    try:
        known = await projects.get(LOCAL_USER, project_id)
    except ProjectNotFound:
        new = NewProject(id=project_id, container_url=address, default_agent_id=default_agent_id)
        await projects.create(LOCAL_USER, new)
        return
    if known.container_url != address:
        await projects.update(LOCAL_USER, project_id, {"container_url": address})


def _refuse_strangers(config: Config) -> None:
    if not is_loopback(config.server.host):
        raise ConfigError(
            f"server.host is {config.server.host!r}, but no identity is configured: without one the gateway serves "
            "this machine only; set it to 127.0.0.1 or ::1"
        )


def _check_address(container: str) -> None:
    try:
        Upstream.parse(container)
    except ValueError as exc:
        raise ConfigError(f"--container {container}: {exc}") from exc


def _workspace(config: Config) -> Path:
    workspace = Path(config.agent_host.workspace).expanduser().absolute()
    try:
        workspace.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise StartError(
            f"the workspace {workspace} cannot be made: {exc.strerror}; choose another with --workspace"
        ) from exc
    return workspace


def _agent_host_config(config: Config, workspace: Path) -> AgentHostConfig:
    settings = config.agent_host
    agents = catalogue.load(Path(settings.catalogue)) if settings.catalogue else catalogue.BUILT_IN
    return AgentHostConfig(
        workspace=workspace,
        token=settings.token or None,
        catalogue=agents,
        environment=environment(),
        permission_timeout=settings.permission_timeout,
        journal_size=settings.journal_events,
    )


def _base_url(config: Config) -> str:
    host = f"[{config.server.host}]" if ":" in config.server.host else config.server.host
    return f"http://{host}:{config.server.port}"


def _welcome(acp: str, seconds: float) -> str:
    json = "-H 'Content-Type: application/json'"
    return f"""\
ready in {seconds:.1f} s; Ctrl-C stops everything. Try it from another terminal:

  SESSION=$(curl -s {acp}/session {json} -d '{{"title": "first steps"}}' | grep -o 'ses_[0-9a-f]*')
  curl -s {acp}/session/$SESSION/prompt {json} -H 'Prefer: wait=60' -d '{{"prompt": "think\\nstream 5"}}'
  curl -s {acp}/session/$SESSION/messages
"""


def say(line: str) -> None:
    """Tell the person at the terminal."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
