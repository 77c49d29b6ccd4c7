"""What each command does."""

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from gateway.client import Client, Project, Refused, Unreachable
from gateway.errors import ConfigError, UsageError
from gateway.terminal.screen import Screen
from gateway.terminal.turn import Turn

DEFAULT_URL: Final = "http://127.0.0.1:8080"
#: How often a login is asked after, where nothing says how often.
LOGIN_SECONDS: Final = 3.0
Options = argparse.Namespace


async def run(options: Options, environ: Mapping[str, str]) -> int:
    """The exit status of a command."""
    screen = Screen.of_process(environ)
    url = options.url or environ.get("ACP_GATEWAY_URL") or DEFAULT_URL
    if not url.startswith(("http://", "https://")):
        raise UsageError(f"--url {url!r}: must begin with http:// or https://")
    async with Client(url, token=_token(options, environ)) as client:
        action: Callable[[Options, Client, Screen], Awaitable[int | None]] = _ACTIONS[options.person]
        try:
            return await action(options, client, screen) or 0
        except Refused as exc:
            if exc.reason != "unauthenticated":
                raise
            raise ConfigError(f"{exc} Set ACP_GATEWAY_TOKEN, or name a file with --token-file.") from exc


def _token(options: Options, environ: Mapping[str, str]) -> str | None:
    """In no option: every process on the machine can read those."""
    path = options.token_file or (None if environ.get("ACP_GATEWAY_TOKEN") else environ.get("ACP_GATEWAY_TOKEN_FILE"))
    if path is None:
        return environ.get("ACP_GATEWAY_TOKEN") or None
    try:
        return Path(path).expanduser().read_text(encoding="utf-8").strip() or None
    except (OSError, UnicodeDecodeError, RuntimeError) as exc:
        raise ConfigError(f"The token's file {path} cannot be read: {exc}") from exc


def _project(options: Options, client: Client) -> Project:
    return client.project(options.project)


def _id(text: str) -> str:
    return quote(text, safe="")


async def list_projects(options: Options, client: Client, screen: Screen) -> None:
    found = await _all(client, "/api/projects", "projects", {})
    _listed(options, screen, found, "id", "role", "defaultAgentId", "containerUrl", "name")


async def get_project(options: Options, client: Client, screen: Screen) -> None:
    _shown(options, screen, await client.call("GET", _project(options, client).path))


async def create_project(options: Options, client: Client, screen: Screen) -> None:
    given = {"id": options.id, "name": options.name, "defaultAgentId": options.agent}
    body = {"containerUrl": options.container, **{name: value for name, value in given.items() if value is not None}}
    _shown(options, screen, await client.call("POST", "/api/projects", body))


async def delete_project(options: Options, client: Client, screen: Screen) -> None:
    await client.call("DELETE", _project(options, client).path)


async def list_agents(options: Options, client: Client, screen: Screen) -> None:
    found = await _project(options, client).call("GET", "/agents")
    if found["stale"] and not options.json:
        screen.note("the container is away; this is what it said last", "yellow")
    _listed(options, screen, found["agents"], "id", "status", "name")


async def spawn_agent(options: Options, client: Client, screen: Screen) -> None:
    path = f"/agents/{_id(options.agent)}/spawn"
    _shown(options, screen, await _project(options, client).call("POST", path, {}, once=True))


async def stop_agent(options: Options, client: Client, screen: Screen) -> None:
    _shown(options, screen, await _project(options, client).call("POST", f"/agents/{_id(options.agent)}/stop", {}))


async def agent_status(options: Options, client: Client, screen: Screen) -> None:
    _shown(options, screen, await _project(options, client).call("GET", f"/agents/{_id(options.agent)}/status"))


async def list_sessions(options: Options, client: Client, screen: Screen) -> None:
    query = {"includeEnded": "true"} if options.all else {}
    found = await _all(client, f"{_project(options, client).path}/acp/session", "sessions", query)
    _listed(options, screen, found, "id", "status", "agentId", "updatedAt", "title")


async def create_session(options: Options, client: Client, screen: Screen) -> None:
    given = {"agentId": options.agent, "title": options.title, "workingDirectory": options.directory}
    members = {name: value for name, value in given.items() if value is not None}
    session = await _project(options, client).create_session(**members)
    if options.json:
        screen.json(session)
    else:
        screen.answer(session["id"] + "\n")


async def get_session(options: Options, client: Client, screen: Screen) -> None:
    _shown(options, screen, await _project(options, client).session(options.session))


async def show_history(options: Options, client: Client, screen: Screen) -> None:
    path = f"/session/{_id(options.session)}"
    form = "jsonl" if options.json else "markdown"
    async with client.download(f"{_project(options, client).path}/acp{path}/export?format={form}") as pieces:
        async for piece in pieces:
            # JSON has no control characters in it that are not escaped; Markdown is agents' text.
            screen.answer(piece)


async def cancel_turn(options: Options, client: Client, screen: Screen) -> None:
    _shown(options, screen, await _project(options, client).cancel(options.session))


async def end_session(options: Options, client: Client, screen: Screen) -> None:
    _shown(options, screen, await _project(options, client).call("DELETE", f"/session/{_id(options.session)}"))


async def prompt(options: Options, client: Client, screen: Screen) -> int:
    text = await asyncio.to_thread(sys.stdin.read) if options.text == "-" else options.text
    if not text.strip():
        raise UsageError("The prompt is empty.")
    project = _project(options, client)
    session_id = await _session_for(options, project)
    if not (options.session or options.json):
        screen.note(f"session {session_id}", "dim")
    begun = await project.prompt(session_id, text, queue=options.queue)
    grants = True if options.allow else False if options.deny else None
    turn = Turn(screen, project, session_id, begun["turnId"], grants=grants)
    return await turn.show(begun["cursor"], as_json=options.json)


async def _session_for(options: Options, project: Project) -> str:
    if options.session:
        return str(options.session)
    if options.newest:
        sessions = (await project.call("GET", "/session", query={"limit": "1"}))["sessions"]
        if not sessions:
            raise UsageError(f"The project {project.id} has no session to continue.")
        return str(sessions[0]["id"])
    return str((await project.create_session(**({"agentId": options.agent} if options.agent else {})))["id"])


async def follow_events(options: Options, client: Client, screen: Screen) -> None:
    events = _project(options, client).events(options.session, after=options.after, from_start=options.from_start)
    async for event in events:
        if options.json:
            screen.json({"id": str(event.cursor), **event.envelope})
        else:
            screen.table([{"id": str(event.cursor), "type": event.type, "data": event.data}], "id", "type", "data")


async def list_permissions(options: Options, client: Client, screen: Screen) -> None:
    found = await _project(options, client).permissions()
    shown = [{**one, "title": (one["toolCall"] or {}).get("title")} for one in found]
    _listed(options, screen, found if options.json else shown, "id", "sessionId", "expiresAt", "title")


async def answer_permission(options: Options, client: Client, screen: Screen) -> None:
    granted = None if options.option else bool(options.allow)
    answered = await _project(options, client).answer(options.permission, option_id=options.option, granted=granted)
    _shown(options, screen, answered)


async def auth_status(options: Options, client: Client, screen: Screen) -> int:
    found = await _auth(options, client, "GET", "status")
    _shown(options, screen, found)
    return 0 if found["state"] == "authorized" else 1


async def log_in(options: Options, client: Client, screen: Screen) -> int:
    given = {"flow": options.flow, "provider": options.provider}
    begun = await _auth(options, client, "POST", "start", {name: word for name, word in given.items() if word})
    if options.json:
        screen.json(begun)
        return 0
    if "tokenUrl" in begun:
        command = f"acp-gateway auth token {options.project} {options.agent}"
        screen.note(f"This agent takes a key: {command} reads one from standard input.", "bold")
        return 1
    _tell_what_to_do(begun, screen)
    seconds = float(begun.get("interval") or LOGIN_SECONDS)
    while True:
        found = await _auth(options, client, "GET", "status")
        if found["state"] != "pending":
            break
        await asyncio.sleep(seconds)
    login = found["login"] or {}
    screen.note(found["state"] + (f": {login['title']}" if login.get("title") else ""), "bold")
    return 0 if found["state"] == "authorized" else 1


def _tell_what_to_do(begun: Mapping[str, Any], screen: Screen) -> None:
    if message := begun.get("message"):
        screen.note(message)
    address = begun.get("authorizeUrl") or begun.get("verificationUriComplete") or begun.get("verificationUri")
    if address:
        screen.note(f"Open {address}", "bold")
    if code := begun.get("userCode"):
        screen.note(f"and enter {code}", "bold")


async def give_token(options: Options, client: Client, screen: Screen) -> None:
    if screen.can_ask:
        import getpass

        token = await asyncio.to_thread(getpass.getpass, "The key or token (it is not shown): ")
    else:
        token = await asyncio.to_thread(sys.stdin.read)
    if not token.strip():
        raise UsageError("There is no token on standard input.")
    _shown(options, screen, await _auth(options, client, "POST", "token", {"token": token.strip()}))


async def log_out(options: Options, client: Client, screen: Screen) -> None:
    _shown(options, screen, await _project(options, client).call("DELETE", f"/agents/{_id(options.agent)}/auth"))


async def list_credentials(options: Options, client: Client, screen: Screen) -> None:
    found = (await client.call("GET", "/api/credentials"))["credentials"]
    _listed(options, screen, found, "agentId", "tokenType", "state", "provider", "fingerprint", "expiresAt")


async def _auth(options: Options, client: Client, method: str, name: str, body: Any = None) -> Any:
    return await _project(options, client).call(method, f"/agents/{_id(options.agent)}/auth/{name}", body)


async def _all(client: Client, path: str, name: str, query: Mapping[str, str]) -> list[Any]:
    """All pages of a list."""
    found: list[Any] = []
    after: str | None = None
    while True:
        page = await client.call("GET", path, query={"limit": "200", **query, **({"after": after} if after else {})})
        if not isinstance(page, dict) or name not in page:
            raise Unreachable(f"What answers at {client.url} is no gateway.")
        found += page[name]
        after = page["next"]
        if after is None:
            return found


def _listed(options: Options, screen: Screen, rows: list[Any], *columns: str) -> None:
    if options.json:
        screen.json(rows)
    else:
        screen.table(rows, *columns)


def _shown(options: Options, screen: Screen, value: Any) -> None:
    if options.json:
        screen.json(value)
    elif isinstance(value, dict):
        screen.members(value)


_ACTIONS: Final = {
    action.__name__: action
    for action in (
        list_projects, get_project, create_project, delete_project, list_agents, spawn_agent, stop_agent, agent_status,
        list_sessions, create_session, get_session, show_history, cancel_turn, end_session, prompt, follow_events,
        list_permissions, answer_permission, auth_status, log_in, give_token, log_out, list_credentials,
    )
}  # fmt: skip
