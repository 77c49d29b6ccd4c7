"""``acp-gateway events``."""

from typing import Any

from gateway.cli.commands.options import asking

DESCRIPTION = """\
Show the events of a project or a session as they come, each once and in order, across restarts of the gateway. One
line per event, JSON with --json. Stop with Ctrl-C."""


def add(commands: Any) -> None:
    events = asking(commands, "events", "follow_events", "show events as they come", DESCRIPTION)
    events.add_argument("project")
    events.add_argument("--session", metavar="ID", help="only this session's events")
    begin = events.add_mutually_exclusive_group()
    begin.add_argument("--from-start", action="store_true", help="from the beginning of the log (default: from now on)")
    begin.add_argument("--after", metavar="CURSOR", help="after this event's cursor, as shown by an earlier run")
