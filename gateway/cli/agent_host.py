"""``acp-gateway agent-host``: the agent host alone, as it runs inside a container."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

from gateway.agenthost import catalogue
from gateway.agenthost.app import HOST, AgentHostConfig, build_app
from gateway.cli.say import Say
from gateway.cli.workspace import workspace_of
from gateway.config.load import environment
from gateway.config.schema import Config, is_loopback
from gateway.errors import ConfigError
from gateway.server.run import address, bind, reload_on_hangup, serving, stop_on_signals
from gateway.tasks import running

logger = logging.getLogger(__name__)


async def agent_host(config: Config, say: Say) -> None:
    """Run the agent host until a signal. SIGHUP has it read its catalogue again."""
    stopped = stop_on_signals()
    reload_wanted = reload_on_hangup()
    settings = config.agent_host
    if not settings.token and not is_loopback(settings.host):
        raise ConfigError(
            f"Everybody who reaches the agent host could run programs with it: to listen on {settings.host} set "
            "ACP_HOST_TOKEN, and the same secret as containers.token of the gateway"
        )
    with bind(settings.host, settings.port, purpose="The agent host", option="--port") as sock:
        workspace = workspace_of(config)
        app = agent_host_app(config, workspace)
        async with serving(app, sock, shutdown_timeout=5), rereading(app, config, reload_wanted):
            say(f"agent host    http://{address(settings.host, settings.port)} (workspace {workspace})")
            if not settings.token:
                say("no secret     every program on this machine may use it; ACP_HOST_TOKEN sets a secret")
            await stopped.wait()


@asynccontextmanager
async def rereading(app: web.Application, config: Config, wanted: asyncio.Event) -> AsyncIterator[None]:
    """Read the catalogue again whenever this is ``wanted``; a flawed one changes nothing."""

    async def reread() -> None:
        while await wanted.wait():
            wanted.clear()
            try:
                app[HOST].agents.learn(await asyncio.to_thread(_agents, config))
            except ConfigError as exc:
                logger.error("catalogue of agents not reloaded, all stays as it was", extra={"error": str(exc)})
            else:
                logger.info("catalogue of agents reloaded")

    async with running({"reread the catalogue of agents": reread()}):
        yield


def _agents(config: Config) -> Mapping[str, catalogue.AgentSpec]:
    file = config.agent_host.catalogue
    return catalogue.load(Path(file)) if file else catalogue.BUILT_IN


def agent_host_app(config: Config, workspace: Path) -> web.Application:
    settings = config.agent_host
    return build_app(
        AgentHostConfig(
            workspace=workspace,
            token=settings.token or None,
            loopback_only=is_loopback(settings.host),
            allowed_hosts=settings.allowed_hosts,
            catalogue=_agents(config),
            environment=environment(),
            permission_timeout=settings.permission_timeout,
            journal_size=settings.journal_events,
        )
    )
