"""``acp-gateway prompt``."""

from typing import Any

from gateway.cli.commands.options import asking

DESCRIPTION = """\
Send a prompt and show the turn as it runs: the answer on standard output, what the agent thinks, plans and does on
standard error. Permissions are asked for here, where this is a terminal; else they wait for whoever answers them
(acp-gateway permission answer), unless --allow or --deny says what to answer. Ctrl-C cancels the turn.

Exit status: 0 completed, 1 it could not be sent, 2 wrong usage, 3 the turn failed, 130 cancelled."""


def add(commands: Any) -> None:
    prompt = asking(commands, "prompt", "prompt", "send a prompt and show the turn as it runs", DESCRIPTION)
    prompt.add_argument("project")
    prompt.add_argument("text", help="what to ask; - reads it from standard input")
    where = prompt.add_mutually_exclusive_group()
    where.add_argument("--session", metavar="ID", help="in this session (default: a new one)")
    where.add_argument("-c", "--continue", dest="newest", action="store_true", help="in the project's newest session")
    prompt.add_argument("--agent", help="with which agent a new session is begun (default: the project's)")
    prompt.add_argument("--title", help="of a new session (default: the prompt's first line)")
    prompt.add_argument("--queue", action="store_true", help="wait where the session runs a turn already")
    answers = prompt.add_mutually_exclusive_group()
    answers.add_argument("--allow", action="store_true", help="allow once whatever the agent asks for")
    answers.add_argument("--deny", action="store_true", help="refuse whatever the agent asks for")
