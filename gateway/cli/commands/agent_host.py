"""``acp-gateway agent-host``."""

from typing import Any

from gateway.cli.commands.options import calling, command, workspace

DESCRIPTION = """\
Run agents inside a container, by the container contract, on port 4097. With ACP_HOST_TOKEN every call needs this
secret. It is required to listen on other addresses than loopback. The gateway's containers.token must be the same."""


def add(commands: Any) -> None:
    host = command(
        commands,
        "agent-host",
        "run agents inside a container, on port 4097",
        DESCRIPTION,
        calling("gateway.cli.agent_host", "agent_host"),
        listens_by="agent_host",
    )
    host.add_argument("--host", help="the address to listen on (default 127.0.0.1; others need ACP_HOST_TOKEN)")
    host.add_argument("--port", type=int, help="the port to listen on (default 4097)")
    host.add_argument("--catalogue", metavar="FILE", help="a TOML file with further agents")
    workspace(host)
