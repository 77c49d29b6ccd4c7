"""``acp-gateway session …``."""

from typing import Any

from gateway.cli.commands.options import asking, group_of


def add(commands: Any) -> None:
    group = group_of(commands, "session", "sessions of a project")
    listed = asking(group, "list", "list_sessions", "list a project's sessions, newest first")
    listed.add_argument("project")
    listed.add_argument("--all", action="store_true", help="include ended sessions")
    create = asking(group, "create", "create_session", "create one, and print its id")
    create.add_argument("project")
    create.add_argument("--agent", help="its agent (default: the project's)")
    create.add_argument("--title")
    create.add_argument("--directory", metavar="DIR", help="its working directory in the container")
    for name, action, summary in (
        ("get", "get_session", "show one"),
        ("history", "show_history", "print its history as Markdown"),
        ("cancel", "cancel_turn", "cancel its running turn"),
        ("end", "end_session", "end it; its history stays"),
    ):
        command = asking(group, name, action, summary)
        command.add_argument("project")
        command.add_argument("session")
