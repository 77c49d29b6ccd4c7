"""``acp-gateway permission …``."""

from typing import Any

from gateway.cli.commands.options import asking, group_of


def add(commands: Any) -> None:
    group = group_of(commands, "permission", "what agents ask before they do it")
    asking(group, "list", "list_permissions", "show what waits for an answer").add_argument("project")
    answer = asking(group, "answer", "answer_permission", "answer a request")
    answer.add_argument("project")
    answer.add_argument("permission", metavar="ID")
    how = answer.add_mutually_exclusive_group(required=True)
    how.add_argument("--option", metavar="ID", help="one of the agent's own options")
    how.add_argument("--allow", action="store_true", help="allow it, this once")
    how.add_argument("--deny", action="store_true", help="refuse it, this once")
