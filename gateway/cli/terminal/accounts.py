"""Accounts for agents: their state, and connecting and disconnecting them."""

import argparse
import asyncio
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final
from urllib.parse import quote

from acp_session_gateway_client import Client, ClientError, Refused

from gateway.cli.terminal.asking import ask_line
from gateway.cli.terminal.lists import ACCOUNT_STATES, ACCOUNTS, TOKEN_TYPES
from gateway.cli.terminal.pages import every
from gateway.cli.terminal.screen import Screen
from gateway.cli.terminal.showing import members, say, show_list
from gateway.cli.terminal.text import cell, local_time
from gateway.errors import UsageError

Options = argparse.Namespace
#: The interval of polls of a login, by default.
LOGIN_SECONDS: Final = 3.0
_PASTE: Final = "If the browser does not return by itself, paste the address or the code that it ended with:"
NO_ACCOUNTS: Final = (
    "No account is connected. Connect one: acp-gateway auth login PROJECT AGENT "
    "(acp-gateway agent list PROJECT shows the agents)"
)


async def list_credentials(options: Options, client: Client, screen: Screen) -> None:
    found = await every(client, "/api/credentials", "credentials", {})
    show_list(options, screen, found, ACCOUNTS, empty=NO_ACCOUNTS)


async def auth_status(options: Options, client: Client, screen: Screen) -> int:
    found = await _call(options, client, "GET", "/status")
    if options.json:
        screen.json(found)
    else:
        screen.lines(status_lines(found, options.project))
    return 0 if found["state"] == "authorized" else 1


def status_lines(found: Mapping[str, Any], project_id: str) -> list[str]:
    """The state of an account, and what can be done about it."""
    lines = [f"{found['agentId']}: {ACCOUNT_STATES.get(found['state'], found['state'])}"]
    login, credential = found["login"] or {}, found["credential"]
    if found["state"] == "pending" or (found["state"] != "authorized" and login.get("title")):
        lines += [f"  {text}" for text in _login_lines(login)]
    if credential is not None:
        lines += [f"  {line}" for line in members(_credential_members(credential))]
    if found["state"] != "authorized":
        lines += ["", *_way_lines(found["ways"], project_id, found["agentId"])]
    return lines


def _login_lines(login: Mapping[str, Any]) -> list[str]:
    told = [login[name] for name in ("title", "detail") if login.get(name)]
    if login.get("userCode"):
        told.append(f"open {login.get('verificationUri')} and enter {login['userCode']}")
    if login.get("state") == "pending":
        told.append(f"it waits until {local_time(login['expiresAt'])}")
    return told


def _credential_members(credential: Mapping[str, Any]) -> dict[str, str]:
    expires = local_time(credential["expiresAt"]) if credential["expiresAt"] else "never"
    named = {
        "kind": TOKEN_TYPES.get(credential["tokenType"], credential["tokenType"]),
        "fingerprint": credential["fingerprint"],
        "provider": credential["provider"],
        "subject": credential["subject"],
        "scopes": ", ".join(credential["scopes"]),
        "expires": expires + (" (renewed by itself)" if credential["renewable"] else ""),
        "connected": local_time(credential["createdAt"]),
        "reason": credential["reason"],
    }
    return {name: cell(value) for name, value in named.items() if value}


def _way_lines(ways: list[Any], project_id: str, agent_id: str) -> list[str]:
    """Each way to connect it, with the command for it."""
    place = f"{project_id} {agent_id}"
    keys = [way["asks"] for way in ways if way.get("asks")]
    lines = ["To connect it:"]
    for way in ways:
        if "provider" in way:
            command = f"acp-gateway auth login {place} --flow {way['flow']} --provider {way['provider']}"
            lines.append(f"  {command}   (a login at {way['providerName']})")
    if keys:
        lines.append(f"  {key_command(place)}   ({', or '.join(keys)})")
    if any(way["flow"] == "agent" for way in ways):
        lines.append(f"  acp-gateway auth login {place} --flow agent   (the agent's own login)")
    return lines


def key_command(place: str) -> str:
    return f"acp-gateway auth token {place} < key.txt"


async def log_in(options: Options, client: Client, screen: Screen) -> int:
    given = {"flow": options.flow, "provider": options.provider}
    begun = await _call(options, client, "POST", "/start", {name: word for name, word in given.items() if word})
    if options.json:
        screen.json(begun)
        return 0
    if "tokenUrl" in begun:
        return await _log_in_with_key(options, client, screen)
    _tell_what_to_do(begun, screen)
    found = await _end_of_login(options, client, screen, begun)
    screen.lines(status_lines(found, options.project))
    return 0 if found["state"] == "authorized" else 1


async def _log_in_with_key(options: Options, client: Client, screen: Screen) -> int:
    """Ask for a key in a terminal; otherwise say which is required, and how to send it."""
    ways = (await _call(options, client, "GET", "/status"))["ways"]
    wanted = ", or ".join(way["asks"] for way in ways if way.get("asks") and options.flow in (None, way["flow"]))
    screen.note(f"{options.agent} takes {wanted}.", "bold")
    if screen.can_ask:
        await _keep_token(options, client, screen)
        return 0
    screen.note(f"Put it into a file, and give it: {key_command(f'{options.project} {options.agent}')}")
    return 1


def _tell_what_to_do(begun: Mapping[str, Any], screen: Screen) -> None:
    if message := begun.get("message"):
        screen.note(message)
    address = begun.get("authorizeUrl") or begun.get("verificationUriComplete") or begun.get("verificationUri")
    if address:
        screen.note(f"Open {address}", "bold")
    if code := begun.get("userCode"):
        screen.note(f"and enter {code}", "bold")


async def _end_of_login(options: Options, client: Client, screen: Screen, begun: Mapping[str, Any]) -> Any:
    """Wait for the end of the login; returns the status. Asks for what must be pasted."""
    asking: asyncio.Task[None] | None = None
    if screen.can_ask and (begun.get("pasteBack") or begun["flow"] == "agent"):
        asking = asyncio.create_task(_ask_for_callback(options, client, screen), name="ask what the browser ended with")
    seconds = float(begun.get("interval") or LOGIN_SECONDS)
    try:
        while True:
            found = await _call(options, client, "GET", "/status")
            if found["state"] != "pending":
                return found
            if asking is None:
                await asyncio.sleep(seconds)
            elif asking in (await asyncio.wait([asking], timeout=seconds))[0]:
                asking.result()
                asking = None
    finally:
        if asking is not None:
            asking.cancel()
            with suppress(asyncio.CancelledError, ClientError):
                await asking


async def _ask_for_callback(options: Options, client: Client, screen: Screen) -> None:
    while True:
        typed = (await ask_line(screen, _PASTE)).strip()
        try:
            if typed:
                await _call(options, client, "POST", "/callback", {"code": typed})
                return
        except Refused as exc:
            screen.note(str(exc), "red")


async def give_token(options: Options, client: Client, screen: Screen) -> None:
    place = f"{options.project} {options.agent}"
    if options.given:
        raise UsageError(
            f"A key must not be an argument: others on this machine can read it, and your shell stores it. Revoke this "
            f"one at its provider, and send a new one on standard input: {key_command(place)}"
        )
    await _keep_token(options, client, screen)


async def _keep_token(options: Options, client: Client, screen: Screen) -> None:
    if screen.can_ask:
        import getpass

        token = await asyncio.to_thread(getpass.getpass, "Paste it here (it is not shown): ")
    else:
        token = await asyncio.to_thread(sys.stdin.read)
    if not token.strip():
        place = f"{options.project} {options.agent}"
        raise UsageError(f"There is no key or token on standard input: {key_command(place)}")
    found = await _call(options, client, "POST", "/token", {"token": token.strip()})
    if options.json:
        screen.json(found)
    else:
        screen.lines(status_lines(found, options.project))


async def log_out(options: Options, client: Client, screen: Screen) -> None:
    gone = await _call(options, client, "DELETE", "")
    words = "disconnected" if gone["deleted"] else "no account was connected"
    if gone["loginCancelled"]:
        words += "; the pending login is cancelled"
    if (gone["revocation"] or {}).get("message"):
        words += f". {gone['revocation']['message']}"
    say(options, screen, gone, f"{options.agent}: {words}")


async def _call(options: Options, client: Client, method: str, path: str, body: Any = None) -> Any:
    agent = quote(options.agent, safe="")
    return await client.project(options.project).call(method, f"/agents/{agent}/auth{path}", body)
