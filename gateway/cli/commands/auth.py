"""``acp-gateway auth …``."""

import argparse
from typing import Any

from gateway.cli.commands.options import asking, group_of

TOKEN = """\
Keep an API key or token for an agent. It is read from standard input, or asked for without showing it where that is a
terminal; never from an argument, which every process on this machine could read:

  acp-gateway auth token demo claude-code < key.txt"""


def add(commands: Any) -> None:
    group = group_of(commands, "auth", "your accounts for agents")
    for name, action, summary in (
        ("status", "auth_status", "show what your account for an agent is"),
        ("login", "log_in", "connect your account for an agent"),
        ("token", "give_token", "connect it by an API key or token, read from standard input"),
        ("logout", "log_out", "disconnect it"),
    ):
        command = asking(group, name, action, summary, TOKEN if name == "token" else None)
        command.add_argument("project")
        command.add_argument("agent")
        if name == "token":
            # Taken for what it is, so that it is refused without being repeated.
            command.add_argument("given", nargs="*", help=argparse.SUPPRESS)
        if name == "login":
            command.add_argument("--flow", help="which way, where there are several")
            command.add_argument("--provider", help="with which provider, where there are several")
    asking(group, "list", "list_credentials", "show all your accounts; of their secrets fingerprints alone")
