"""``acp-gateway auth …``."""

import argparse
from typing import Any

from gateway.cli.commands.options import asking, group_of

TOKEN = """\
Store an API key or token for an agent. It is read from standard input, without echo if that is a terminal. It cannot
be an argument, because every process on this machine could read it:

  acp-gateway auth token demo claude-code < key.txt"""


def add(commands: Any) -> None:
    group = group_of(commands, "auth", "your accounts for agents")
    for name, action, summary in (
        ("status", "auth_status", "show the state of your account for an agent"),
        ("login", "log_in", "connect your account for an agent"),
        ("token", "give_token", "connect it with an API key or token from standard input"),
        ("logout", "log_out", "disconnect it"),
    ):
        command = asking(group, name, action, summary, TOKEN if name == "token" else None)
        command.add_argument("project")
        command.add_argument("agent")
        if name == "token":
            # Accepted by the parser, so that it can be refused without being quoted.
            command.add_argument("given", nargs="*", help=argparse.SUPPRESS)
        if name == "login":
            command.add_argument("--flow", help="which flow, if there are several")
            command.add_argument("--provider", help="which provider, if there are several")
    asking(group, "list", "list_credentials", "list your accounts, with fingerprints in place of secrets")
