"""``acp-gateway agent-host``: the agent host alone, as it runs inside a container."""

from pathlib import Path

from aiohttp import web

from gateway.agenthost import catalogue
from gateway.agenthost.app import AgentHostConfig, build_app
from gateway.cli.say import Say
from gateway.cli.workspace import workspace_of
from gateway.config.load import environment
from gateway.config.schema import Config, is_loopback
from gateway.errors import ConfigError
from gateway.server.run import address, bind, serving, stop_on_signals


async def agent_host(config: Config, say: Say) -> None:
    """Run the agent host until a signal."""
    stopped = stop_on_signals()
    settings = config.agent_host
    if not settings.token and not is_loopback(settings.host):
        raise ConfigError(
            f"Everybody who reaches the agent host could run programs with it: to listen on {settings.host} set "
            "ACP_HOST_TOKEN, and the same secret as containers.token of the gateway"
        )
    with bind(settings.host, settings.port, purpose="The agent host", option="--port") as sock:
        workspace = workspace_of(config)
        async with serving(agent_host_app(config, workspace), sock, shutdown_timeout=5):
            say(f"agent host    http://{address(settings.host, settings.port)} (workspace {workspace})")
            if not settings.token:
                say("no secret     every program on this machine may use it; ACP_HOST_TOKEN sets a secret")
            await stopped.wait()


def agent_host_app(config: Config, workspace: Path) -> web.Application:
    settings = config.agent_host
    agents = catalogue.load(Path(settings.catalogue)) if settings.catalogue else catalogue.BUILT_IN
    return build_app(
        AgentHostConfig(
            workspace=workspace,
            token=settings.token or None,
            loopback_only=is_loopback(settings.host),
            allowed_hosts=settings.allowed_hosts,
            catalogue=agents,
            environment=environment(),
            permission_timeout=settings.permission_timeout,
            journal_size=settings.journal_events,
        )
    )
