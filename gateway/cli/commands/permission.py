"""``acp-gateway permission …``."""

from typing import Any

from gateway.cli.commands.options import asking, group_of


def add(commands: Any) -> None:
    group = group_of(commands, "permission", "permission requests of agents")
    asking(group, "list", "list_permissions", "list open requests").add_argument("project")
    answer = asking(group, "answer", "answer_permission", "answer a request")
    answer.add_argument("project")
    answer.add_argument("permission", metavar="ID")
    how = answer.add_mutually_exclusive_group(required=True)
    how.add_argument("--option", metavar="ID", help="one of the agent's options")
    how.add_argument("--allow", action="store_true", help="allow it once")
    how.add_argument("--deny", action="store_true", help="refuse it once")
