"""``acp-gateway agent …``."""

from typing import Any

from gateway.cli.commands.options import asking, group_of


def add(commands: Any) -> None:
    group = group_of(commands, "agent", "list, start and stop a project's agents")
    asking(group, "list", "list_agents", "list a project's agents").add_argument("project")
    for name, action, summary in (
        ("spawn", "spawn_agent", "start an agent's process"),
        ("stop", "stop_agent", "stop it; its running turns fail"),
        ("status", "agent_status", "show its status in the container"),
    ):
        command = asking(group, name, action, summary)
        command.add_argument("project")
        command.add_argument("agent")
