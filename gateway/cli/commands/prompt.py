"""``acp-gateway prompt``."""

from typing import Any

from gateway.cli.commands.options import asking

DESCRIPTION = """\
Send a prompt and show the turn as it runs: the answer on standard output; thoughts, plans and tool calls on standard
error. In a terminal, permission requests are asked here. Otherwise they wait for "acp-gateway permission answer",
unless --allow or --deny is given. Ctrl-C cancels the turn.

Exit status: 0 completed, 1 not sent, 2 wrong usage, 3 failed, 130 cancelled."""


def add(commands: Any) -> None:
    prompt = asking(commands, "prompt", "prompt", "send a prompt and show the turn as it runs", DESCRIPTION)
    prompt.add_argument("project")
    prompt.add_argument("text", help="the prompt; - reads it from standard input")
    where = prompt.add_mutually_exclusive_group()
    where.add_argument("--session", metavar="ID", help="in this session (default: a new one)")
    where.add_argument(
        "-c", "--continue", dest="last", action="store_true", help="in the project's session that was active last"
    )
    prompt.add_argument("--agent", help="the agent of a new session (default: the project's)")
    prompt.add_argument("--title", help="the title of a new session (default: the prompt's first line)")
    prompt.add_argument("--queue", action="store_true", help="wait if the session is running a turn")
    answers = prompt.add_mutually_exclusive_group()
    answers.add_argument("--allow", action="store_true", help="allow each permission request once")
    answers.add_argument("--deny", action="store_true", help="refuse each permission request")
