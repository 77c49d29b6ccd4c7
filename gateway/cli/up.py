"""``acp-gateway up``: everything on this machine."""

import secrets
import shlex
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path
from socket import socket

import attrs

from gateway.app import build_app
from gateway.cli.agent_host import agent_host_app
from gateway.cli.database import open_database
from gateway.cli.places import data_dir, refuse_second
from gateway.cli.running import base_of, say_open, say_ready, until, url_of
from gateway.cli.say import Say
from gateway.cli.settling import settle
from gateway.cli.workspace import workspace_of
from gateway.config.schema import Config
from gateway.container.containers import OwnHost
from gateway.db.programs import installed
from gateway.errors import ConfigError, StartError
from gateway.identity.local import LocalMode
from gateway.identity.safety import refuse_unsafe
from gateway.projects.registration import register
from gateway.projects.room import PROJECTS
from gateway.proxy.upstream import Upstream
from gateway.server.run import bind, serving, stop_on_signals

DEMO_PROJECT = DEMO_AGENT = "demo"


async def up(config: Config, say: Say, *, container_port: int) -> None:
    """Run PostgreSQL, an agent host in place of a container, the gateway, and a project."""
    began = time.monotonic()
    stopped = stop_on_signals()
    refuse_unsafe(config)
    config = _side_by_side(_for_local_user(config), container_port)
    if not config.database.url:
        installed()
        refuse_second(data_dir(config))
    async with AsyncExitStack() as stack:
        gateway_socket, host_socket = _bind_both(config, stack)
        workspace = workspace_of(config)
        config, postgres = await stack.enter_async_context(open_database(config, say))
        if stopped.is_set():
            return
        await settle(config, postgres, say)
        container = f"http://127.0.0.1:{container_port}"
        own_host = OwnHost(upstream=Upstream.parse(url_of(config.agent_host)), token=config.agent_host.token)
        await stack.enter_async_context(serving(agent_host_app(config, workspace), host_socket, shutdown_timeout=5))
        say(f"agent host    {url_of(config.agent_host)} (workspace {workspace})")
        app = build_app(config, own_host=own_host)
        timeout = config.server.shutdown_timeout
        await stack.enter_async_context(serving(app, gateway_socket, shutdown_timeout=timeout))
        await register(app[PROJECTS].store, DEMO_PROJECT, container, default_agent_id=DEMO_AGENT)
        base = url_of(config.server)
        say_open(say, config.identity.modes)
        say(f"gateway       {base}")
        say(f"project       {base}/api/projects/{DEMO_PROJECT} (container {container})")
        say_ready(say, base_of(config.server), f"{base_of(config.server)}/console", began)
        say(_first_steps(base))
        await until(stopped, postgres)
        say("\nstopping")
    say("stopped; start again with the same command, all data is kept")


def _side_by_side(config: Config, container_port: int) -> Config:
    """The configuration with a local agent host in place of a container's two ports."""
    if not 1 <= container_port <= 65534:
        raise ConfigError(
            f"--container-port: must be from 1 to 65534 (the agent host takes the next one), not {container_port}"
        )
    if config.server.port in (container_port, container_port + 1):
        raise ConfigError(
            f"--port {config.server.port} is one of the two container ports ({container_port} and "
            f"{container_port + 1}); choose another --port or --container-port"
        )
    # Every program on this machine can reach the agent host, so it gets a secret: a new one for each start, only in
    # this process's memory, unless the operator has set one.
    token = config.agent_host.token or secrets.token_urlsafe(32)
    host = attrs.evolve(config.agent_host, host="127.0.0.1", port=container_port + 1, token=token)
    containers = attrs.evolve(config.containers, opencode_port=container_port, acp_port=container_port + 1)
    return attrs.evolve(config, containers=containers, agent_host=host)


def _bind_both(config: Config, stack: AsyncExitStack) -> tuple[socket, socket]:
    """The gateway's socket and the agent host's; an error reports both ports at once."""
    sockets, failures, others = [], [], []
    for settings, port, purpose, option in (
        (config.server, config.server.port, "The gateway", "--port"),
        (config.agent_host, config.containers.opencode_port, "The agent host", "--container-port"),
    ):
        try:
            sockets.append(stack.enter_context(bind(settings.host, settings.port, purpose=purpose, option=option)))
        except StartError as exc:
            failures.append(str(exc))
            others.append(f"{option} {port + 1000 if port < 64000 else port - 1000}")
    if failures:
        raise StartError(f'{". ".join(failures)}. With make: make up ARGS="{" ".join(others)}"')
    return sockets[0], sockets[1]


def _for_local_user(config: Config) -> Config:
    """``up`` has one user, without a token: agents run as the same system user, and could read its file."""
    if not config.identity.modes:
        return attrs.evolve(config, identity=attrs.evolve(config.identity, modes=(LocalMode.name,)))
    if LocalMode.name not in config.identity.modes:
        raise ConfigError(
            f"identity.modes is {', '.join(config.identity.modes)}, but up is for the one user of this machine: add "
            "local, or use serve"
        )
    return config


def _first_steps(base: str) -> str:
    # With make it is not in the PATH.
    program = sys.argv[0] if Path(sys.argv[0]).name == "acp-gateway" else "acp-gateway"
    acp = f"{base}/api/projects/{DEMO_PROJECT}/acp"
    json = "-H 'Content-Type: application/json'"
    return f"""
Open the console in a browser, or try it from another terminal:

  {shlex.quote(program)} prompt {DEMO_PROJECT} "what can you do?" --url {base}

or by the API:

  SESSION=$(curl -s {acp}/session {json} -d '{{"title": "first steps"}}' | grep -o 'ses_[0-9a-f]*')
  curl -s {acp}/session/$SESSION/prompt {json} -H 'Prefer: wait=60' -d '{{"prompt": "think\\nstream 5"}}'
  curl -s {acp}/session/$SESSION/messages
"""
