"""``acp-gateway up``."""

from typing import Any

from gateway.cli.commands.options import calling, command, data_dir, workspace

DESCRIPTION = """\
Everything on this machine: an embedded PostgreSQL, an agent host that stands in for a container, the gateway, and the
project "demo". It prints lines to try. What is stored is kept: start it again and it is there."""


def add(commands: Any) -> None:
    up = command(
        commands,
        "up",
        "everything on this machine, with a demo agent to talk to",
        DESCRIPTION,
        calling("gateway.cli.up", "up"),
    )
    up.add_argument("--port", type=int, help="the gateway's port (default 8080)")
    up.add_argument(
        "--container-port",
        type=int,
        default=4096,
        metavar="PORT",
        help="the port that stands for a container's 4096; the agent host takes the next one (default 4096)",
    )
    data_dir(up)
    workspace(up)
