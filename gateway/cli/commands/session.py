"""``acp-gateway session …``."""

from typing import Any

from gateway.cli.commands.options import asking, group_of


def add(commands: Any) -> None:
    group = group_of(commands, "session", "sessions of a project")
    listed = asking(group, "list", "list_sessions", "show a project's sessions, newest first")
    listed.add_argument("project")
    listed.add_argument("--all", action="store_true", help="those that have ended, too")
    create = asking(group, "create", "create_session", "begin one, and print its id")
    create.add_argument("project")
    create.add_argument("--agent", help="with which agent (default: the project's)")
    create.add_argument("--title")
    create.add_argument("--directory", metavar="DIR", help="where it works, in the container")
    for name, action, summary in (
        ("get", "get_session", "show one"),
        ("history", "show_history", "print what has been said, as Markdown"),
        ("cancel", "cancel_turn", "have its running turn stop"),
        ("end", "end_session", "end it; its history stays"),
    ):
        command = asking(group, name, action, summary)
        command.add_argument("project")
        command.add_argument("session")
