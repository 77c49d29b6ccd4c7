"""``acp-gateway up``."""

from typing import Any

from gateway.cli.commands.options import calling, command, data_dir, workspace

DESCRIPTION = """\
Everything on this machine: an embedded PostgreSQL, an agent host in place of a container, the gateway, and the project
"demo". It prints commands to try. Data is kept for the next start."""


def add(commands: Any) -> None:
    up = command(
        commands,
        "up",
        "everything on this machine, with a demo agent",
        DESCRIPTION,
        calling("gateway.cli.up", "up"),
    )
    up.add_argument("--port", type=int, help="the gateway's port (default 8080)")
    up.add_argument(
        "--container-port",
        type=int,
        default=4096,
        metavar="PORT",
        help="the port in place of a container's 4096; the agent host takes the next one (default 4096)",
    )
    data_dir(up)
    workspace(up)
