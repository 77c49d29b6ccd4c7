"""The commands and their options. Nothing is imported here that takes time: ``--help`` needs none of it."""

import argparse
from typing import Any

from gateway.cli.parser import COMMAND

PROMPT = """\
Send a prompt and show the turn as it runs: the answer on standard output, what the agent thinks, plans and does on
standard error. Permissions are asked for here, where this is a terminal; else they wait for whoever answers them
(acp-gateway permission answer), unless --allow or --deny says what to answer. Ctrl-C cancels the turn.

Exit status: 0 completed, 1 it could not be sent, 2 wrong usage, 3 the turn failed, 130 cancelled."""

EVENTS = """\
Show a project's events, or one session's, as they come; through restarts of the gateway, each once and in order.
A line each, as JSON with --json. Ctrl-C ends it."""

TOKEN = """\
Keep an API key or token for an agent. It is read from standard input, or asked for without showing it where that is a
terminal; never from an argument, which every process on this machine could read:

  acp-gateway auth token demo claude-code < key.txt"""

_JSON = "print JSON, for scripts"
_URL = "the gateway's address (default $ACP_GATEWAY_URL, else http://127.0.0.1:8080)"
_TOKEN = "a file with an API token (default $ACP_GATEWAY_TOKEN itself, or the file $ACP_GATEWAY_TOKEN_FILE)"


def add_commands(commands: Any) -> Any:
    """Each sets ``person``, the name of what it does in ``cli.terminal.actions``. Gives the group of projects."""
    projects = _group(commands, "project", "projects: of a running gateway, or in its database")
    _projects(projects)
    _agents(_group(commands, "agent", "agents of a project, started and stopped"))
    _sessions(_group(commands, "session", "sessions of a project"))
    _prompt(commands)
    _events(commands)
    _permissions(_group(commands, "permission", "what agents ask before they do it"))
    _auth(_group(commands, "auth", "your accounts for agents"))
    return projects


def _projects(group: Any) -> None:
    _command(group, "list", "list_projects", "show your projects")
    _command(group, "get", "get_project", "show one").add_argument("project")
    create = _command(group, "create", "create_project", "register a container as a project")
    create.add_argument("container", metavar="CONTAINER_URL", help="for example http://127.0.0.1:4096")
    create.add_argument("--id", help="1 to 64 of a-z, 0-9 and - (default: a made one)")
    create.add_argument("--name", help="for people")
    create.add_argument("--agent", help="the default agent of its sessions")
    create.add_argument(
        "--record-opencode-events", action="store_true", help="have OpenCode's own events recorded, so that they resume"
    )
    _command(group, "delete", "delete_project", "remove one with all that is stored of it").add_argument("project")


def _agents(group: Any) -> None:
    _command(group, "list", "list_agents", "show a project's agents").add_argument("project")
    for name, action, summary in (
        ("spawn", "spawn_agent", "start an agent's process"),
        ("stop", "stop_agent", "stop it; a turn that it runs fails"),
        ("status", "agent_status", "what the container says of it"),
    ):
        command = _command(group, name, action, summary)
        command.add_argument("project")
        command.add_argument("agent")


def _sessions(group: Any) -> None:
    listed = _command(group, "list", "list_sessions", "show a project's sessions, newest first")
    listed.add_argument("project")
    listed.add_argument("--all", action="store_true", help="those that have ended, too")
    create = _command(group, "create", "create_session", "begin one, and print its id")
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
        command = _command(group, name, action, summary)
        command.add_argument("project")
        command.add_argument("session")


def _prompt(commands: Any) -> None:
    prompt = _command(commands, "prompt", "prompt", "send a prompt and show the turn as it runs", PROMPT)
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


def _events(commands: Any) -> None:
    events = _command(commands, "events", "follow_events", "show events as they come", EVENTS)
    events.add_argument("project")
    events.add_argument("--session", metavar="ID", help="of this session alone")
    begin = events.add_mutually_exclusive_group()
    begin.add_argument("--from-start", action="store_true", help="from the log's beginning (default: from now on)")
    begin.add_argument("--after", metavar="CURSOR", help="after this event, as an earlier run showed it")


def _permissions(group: Any) -> None:
    _command(group, "list", "list_permissions", "show what waits for an answer").add_argument("project")
    answer = _command(group, "answer", "answer_permission", "answer a request")
    answer.add_argument("project")
    answer.add_argument("permission", metavar="ID")
    how = answer.add_mutually_exclusive_group(required=True)
    how.add_argument("--option", metavar="ID", help="one of the agent's own options")
    how.add_argument("--allow", action="store_true", help="allow it, this once")
    how.add_argument("--deny", action="store_true", help="refuse it, this once")


def _auth(group: Any) -> None:
    for name, action, summary in (
        ("status", "auth_status", "show what your account for an agent is"),
        ("login", "log_in", "connect your account for an agent"),
        ("token", "give_token", "connect it by an API key or token, read from standard input"),
        ("logout", "log_out", "disconnect it"),
    ):
        command = _command(group, name, action, summary, TOKEN if name == "token" else None)
        command.add_argument("project")
        command.add_argument("agent")
        if name == "token":
            # Taken for what it is, so that it is refused without being repeated.
            command.add_argument("given", nargs="*", help=argparse.SUPPRESS)
        if name == "login":
            command.add_argument("--flow", help="which way, where there are several")
            command.add_argument("--provider", help="with which provider, where there are several")
    _command(group, "list", "list_credentials", "show all your accounts; of their secrets fingerprints alone")


def _group(commands: Any, name: str, summary: str) -> Any:
    group = commands.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
    return group.add_subparsers(required=True, metavar=COMMAND, title="commands")


def _command(commands: Any, name: str, action: str, summary: str, text: str | None = None) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=text or f"{summary[0].upper()}{summary[1:]}.",
    )
    parser.add_argument("--url", help=_URL)
    parser.add_argument("--token-file", metavar="FILE", help=_TOKEN)
    parser.add_argument("--json", action="store_true", help=_JSON)
    parser.set_defaults(person=action)
    return parser
