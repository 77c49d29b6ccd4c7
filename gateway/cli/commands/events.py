"""``acp-gateway events``."""

from typing import Any

from gateway.cli.commands.options import asking

DESCRIPTION = """\
Show a project's events, or one session's, as they come; through restarts of the gateway, each once and in order.
A line each, as JSON with --json. Ctrl-C ends it."""


def add(commands: Any) -> None:
    events = asking(commands, "events", "follow_events", "show events as they come", DESCRIPTION)
    events.add_argument("project")
    events.add_argument("--session", metavar="ID", help="of this session alone")
    begin = events.add_mutually_exclusive_group()
    begin.add_argument("--from-start", action="store_true", help="from the log's beginning (default: from now on)")
    begin.add_argument("--after", metavar="CURSOR", help="after this event, as an earlier run showed it")
