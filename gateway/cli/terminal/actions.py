"""The commands that call a running gateway."""

import argparse
import asyncio
import re
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote

from acp_session_gateway_client import Client, Project, Refused

from gateway.cli.terminal import lists
from gateway.cli.terminal.accounts import auth_status, give_token, list_credentials, log_in, log_out
from gateway.cli.terminal.asked import call_title
from gateway.cli.terminal.credential import token_for
from gateway.cli.terminal.pages import every
from gateway.cli.terminal.screen import Screen
from gateway.cli.terminal.showing import away_notes, say, show_list, show_members
from gateway.cli.terminal.text import cell, local_time, title_of
from gateway.cli.terminal.turn import Turn
from gateway.errors import ConfigError, UsageError
from gateway.proxy.upstream import Upstream

DEFAULT_URL: Final = "http://127.0.0.1:8080"
NO_PROJECTS: Final = "There are no projects. Register a container: acp-gateway project create http://127.0.0.1:4096"
#: ``authStart`` of a problem.
_ACCOUNT: Final = re.compile(r"/api/projects/([^/]+)/acp/agents/([^/]+)/auth/start")
Options = argparse.Namespace


async def run(options: Options, environ: Mapping[str, str]) -> int:
    """Run a command; returns the exit status."""
    screen = Screen.of_process(environ)
    _refuse_what_is_no_text(options)
    url = _url(options, environ)
    async with Client(url, token=token_for(url, options.token_file, environ)) as client:
        action: Callable[[Options, Client, Screen], Awaitable[int | None]] = _ACTIONS[options.person]
        try:
            return await action(options, client, screen) or 0
        except Refused as exc:
            step = next_step(exc)
            if step is None:
                raise
            raise ConfigError(f"{exc} {step}") from exc


def _refuse_what_is_no_text(options: Options) -> None:
    """Arguments that are not UTF-8 cannot be sent."""
    for name, value in vars(options).items():
        if isinstance(value, str) and not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError as exc:
                raise UsageError(f"{name}: {value!r} is not UTF-8") from exc


def _url(options: Options, environ: Mapping[str, str]) -> str:
    url: str = options.url or environ.get("ACP_GATEWAY_URL") or DEFAULT_URL
    try:
        Upstream.parse(url)
    except ValueError as exc:
        # Without the address, which may contain a password.
        raise UsageError(f"{'--url' if options.url else 'ACP_GATEWAY_URL'}: {exc}") from exc
    return url


def next_step(refused: Refused) -> str | None:
    """What to do about a refusal, or None."""
    if refused.reason == "unauthenticated":
        return "Set ACP_GATEWAY_TOKEN, or name a file with --token-file (local.token in the gateway's --data-dir, say)."
    if place := _ACCOUNT.fullmatch(str(refused.problem.get("authStart"))):
        return f"Connect it: acp-gateway auth login {unquote(place[1])} {unquote(place[2])}"
    return None


def _project(options: Options, client: Client) -> Project:
    return client.project(options.project)


def _id(text: str) -> str:
    return quote(text, safe="")


async def list_projects(options: Options, client: Client, screen: Screen) -> None:
    found = await every(client, "/api/projects", "projects", {})
    show_list(options, screen, found, lists.PROJECTS, empty=NO_PROJECTS)


async def get_project(options: Options, client: Client, screen: Screen) -> None:
    show_members(options, screen, await client.call("GET", _project(options, client).path))


async def create_project(options: Options, client: Client, screen: Screen) -> None:
    given = {"id": options.id, "name": options.name, "defaultAgentId": options.agent}
    given |= {"opencodeUsername": options.opencode_username}
    if options.opencode_password_file is not None:
        given["opencodePassword"] = await asyncio.to_thread(_first_line, options.opencode_password_file)
    body = {"containerUrl": options.container, **{name: value for name, value in given.items() if value is not None}}
    if options.record_opencode_events:
        body["recordOpencodeEvents"] = True
    show_members(options, screen, await client.call("POST", "/api/projects", body))


def _first_line(path: str) -> str:
    """A secret from a file, or from standard input."""
    try:
        text = sys.stdin.readline() if path == "-" else Path(path).read_text("utf-8").partition("\n")[0]
    except (OSError, UnicodeError) as exc:
        raise UsageError(f"--opencode-password-file: {path} cannot be read: {exc}") from exc
    return text.rstrip("\r\n")


async def delete_project(options: Options, client: Client, screen: Screen) -> None:
    await client.call("DELETE", _project(options, client).path)
    say(options, screen, None, f"{options.project} is deleted, with all that was stored of it")


async def list_agents(options: Options, client: Client, screen: Screen) -> None:
    found = await _project(options, client).call("GET", "/agents")
    if found["stale"] and not options.json:
        screen.note("the container is unreachable; this is its last known state", "yellow")
    agents = found["agents"] if options.json else lists.agents(found["agents"])
    show_list(options, screen, agents, lists.AGENTS, empty=f"The container of {options.project} has no agents")


async def spawn_agent(options: Options, client: Client, screen: Screen) -> None:
    path = f"/agents/{_id(options.agent)}/spawn"
    show_members(options, screen, await _project(options, client).call("POST", path, {}, once=True))


async def stop_agent(options: Options, client: Client, screen: Screen) -> None:
    path = f"/agents/{_id(options.agent)}/stop"
    show_members(options, screen, await _project(options, client).call("POST", path, {}))


async def agent_status(options: Options, client: Client, screen: Screen) -> None:
    show_members(options, screen, await _project(options, client).call("GET", f"/agents/{_id(options.agent)}/status"))


async def list_sessions(options: Options, client: Client, screen: Screen) -> None:
    query = {"includeEnded": "true"} if options.all else {}
    found = await every(client, f"{_project(options, client).path}/acp/session", "sessions", query)
    kind = "sessions" if options.all else "open sessions"
    more = "" if options.all else "; --all shows those that have ended, too"
    begin = f'Begin one: acp-gateway prompt {options.project} "what to do"'
    show_list(options, screen, found, lists.SESSIONS, empty=f"There are no {kind}. {begin}{more}")


async def create_session(options: Options, client: Client, screen: Screen) -> None:
    given = {"agentId": options.agent, "title": options.title, "workingDirectory": options.directory}
    members = {name: value for name, value in given.items() if value is not None}
    session = await _project(options, client).create_session(**members)
    if options.json:
        screen.json(session)
    else:
        screen.answer(session["id"] + "\n")


async def get_session(options: Options, client: Client, screen: Screen) -> None:
    show_members(options, screen, await _project(options, client).session(options.session))


async def show_history(options: Options, client: Client, screen: Screen) -> None:
    path = f"/session/{_id(options.session)}"
    form = "jsonl" if options.json else "markdown"
    async with client.download(f"{_project(options, client).path}/acp{path}/export?format={form}") as pieces:
        async for piece in pieces:
            if options.json:
                screen.json_text(piece)
            else:
                screen.answer(piece)


async def cancel_turn(options: Options, client: Client, screen: Screen) -> None:
    cancelled = await _project(options, client).cancel(options.session)
    turn_id = cancelled["turnId"]
    say(options, screen, cancelled, f"{turn_id} is being cancelled" if turn_id else "No turn runs: nothing to cancel")


async def end_session(options: Options, client: Client, screen: Screen) -> None:
    ended = await _project(options, client).call("DELETE", f"/session/{_id(options.session)}")
    history = f"acp-gateway session history {options.project} {options.session}"
    say(options, screen, ended, f"{options.session} has ended; its history stays: {history}")


async def prompt(options: Options, client: Client, screen: Screen) -> int:
    text = await asyncio.to_thread(sys.stdin.read) if options.text == "-" else options.text
    if not text.strip():
        raise UsageError("The prompt is empty.")
    if options.title is not None and (options.session or options.last):
        raise UsageError("--title is for a new session, and not for one that is continued.")
    project = _project(options, client)
    session_id = await _session_for(options, project, text)
    if not (options.session or options.json):
        screen.note(f"session {session_id}", "dim")
    begun = await project.prompt(session_id, text, queue=options.queue)
    grants = True if options.allow else False if options.deny else None
    turn = Turn(screen, project, session_id, begun["turnId"], grants=grants)
    return await turn.show(begun["cursor"], as_json=options.json)


async def _session_for(options: Options, project: Project, text: str) -> str:
    if options.session:
        return str(options.session)
    if options.last:
        sessions = (await project.call("GET", "/session", query={"limit": "1"}))["sessions"]
        if not sessions:
            raise UsageError(f"The project {project.id} has no session to continue.")
        return str(sessions[0]["id"])
    given = {"agentId": options.agent, "title": options.title or title_of(text)}
    return str((await project.create_session(**{name: word for name, word in given.items() if word}))["id"])


async def follow_events(options: Options, client: Client, screen: Screen) -> None:
    project = _project(options, client)
    # A stream would wait for an unreachable gateway; this shows a mistyped address.
    await client.call("GET", project.path)
    if not (options.json or options.from_start or options.after):
        screen.note("events from now on; Ctrl-C ends it", "dim")
    events = project.events(
        options.session, after=options.after, from_start=options.from_start, on_away=away_notes(screen)
    )
    async for event in events:
        if options.json:
            screen.json({"id": str(event.cursor), **event.envelope})
        else:
            head = (str(event.cursor), local_time(event.at), event.type, event.session_id)
            screen.lines(["  ".join(filter(None, (*head, cell(event.data))))])


async def list_permissions(options: Options, client: Client, screen: Screen) -> None:
    found = await _project(options, client).permissions()
    show_list(options, screen, found, lists.PERMISSIONS, empty="No agent waits for an answer")
    if found and not options.json:
        command = f"acp-gateway permission answer {options.project} {found[0]['id']} --allow"
        screen.note(f"Answer one: {command} (or --deny)", "dim")


async def answer_permission(options: Options, client: Client, screen: Screen) -> None:
    granted = None if options.option else bool(options.allow)
    answered = await _project(options, client).answer(options.permission, option_id=options.option, granted=granted)
    title = call_title(answered["toolCall"]) or answered["id"]
    say(options, screen, answered, f"{title}: {lists.answer(answered)}")


_ACTIONS: Final = {
    action.__name__: action
    for action in (
        list_projects, get_project, create_project, delete_project, list_agents, spawn_agent, stop_agent, agent_status,
        list_sessions, create_session, get_session, show_history, cancel_turn, end_session, prompt, follow_events,
        list_permissions, answer_permission, auth_status, log_in, give_token, log_out, list_credentials,
    )
}  # fmt: skip
