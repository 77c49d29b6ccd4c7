"""``acp-gateway agent …``."""

from typing import Any

from gateway.cli.commands.options import asking, group_of


def add(commands: Any) -> None:
    group = group_of(commands, "agent", "agents of a project, started and stopped")
    asking(group, "list", "list_agents", "show a project's agents").add_argument("project")
    for name, action, summary in (
        ("spawn", "spawn_agent", "start an agent's process"),
        ("stop", "stop_agent", "stop it; a turn that it runs fails"),
        ("status", "agent_status", "what the container says of it"),
    ):
        command = asking(group, name, action, summary)
        command.add_argument("project")
        command.add_argument("agent")
