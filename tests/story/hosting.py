"""An agent host with agents of a test's own."""

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import attrs

from gateway.agenthost.app import AgentHostConfig, build_app
from gateway.agenthost.catalogue import AgentSpec
from gateway.server.run import bind, serving


@asynccontextmanager
async def hosting(
    root: Path, workspace: Path, *agents: AgentSpec, env: Mapping[str, str] = {}, port: int = 0
) -> AsyncIterator[str]:
    """The address of an agent host with these agents; they get its ``env`` as far as any agent does."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(root), "XDG_STATE_HOME": str(root / "state"), **env}
    config = AgentHostConfig(workspace=workspace, environment=environment)
    config = attrs.evolve(config, catalogue={**config.catalogue, **{agent.id: agent for agent in agents}})
    sock = bind("127.0.0.1", port, purpose="the test's agent host", option="")
    async with serving(build_app(config), sock, shutdown_timeout=1):
        yield f"http://127.0.0.1:{sock.getsockname()[1]}"
