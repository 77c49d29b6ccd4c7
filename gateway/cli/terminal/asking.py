"""Asks for permissions in the terminal: shows the agent's options, and takes no answer by accident."""

import asyncio
import os
import sys
import termios
from collections.abc import Sequence
from typing import Any

from acp_session_gateway_client import Project, Refused, Unreachable

from gateway.cli.terminal.asked import call_title, lines_of
from gateway.cli.terminal.screen import Screen


async def ask(screen: Screen, project: Project, permission_id: str, tool_call: Any, options: Any) -> None:
    """Ask until an option is chosen, and send the answer. Cancelled if somebody else answers.

    Of several requests, each is shown when it is its turn, unless it was settled before.
    """
    async with screen.questions:
        await _ask(screen, project, permission_id, tool_call, options)


async def _ask(screen: Screen, project: Project, permission_id: str, tool_call: Any, options: Any) -> None:
    named = [one for one in options if isinstance(one, dict)] if isinstance(options, list) else []
    screen.note(f"? {call_title(tool_call) or 'The agent asks for permission'}", "yellow")
    for line in lines_of(tool_call):
        screen.note(f"  {line}", "dim")
    for number, option in enumerate(named, 1):
        screen.note(f"  {number}) {option.get('name') or option.get('optionId')}")
    while True:
        # What was typed before the question was shown is no answer to it.
        termios.tcflush(sys.stdin.fileno(), termios.TCIFLUSH)
        words = f"1-{len(named)}, y (allow once) or n (refuse):" if named else "y (allow once) or n (refuse):"
        chosen = choice(await ask_line(screen, words), named)
        if chosen is None:
            screen.note("Type a number, y or n.", "dim")
            continue
        try:
            await project.answer(permission_id, **chosen)
        except (Refused, Unreachable) as exc:
            screen.note(str(exc), "red")
            if not _is_settled(exc):
                continue
        return


def _is_settled(exc: Refused | Unreachable) -> bool:
    """Whether somebody else has answered, or the request was withdrawn; an event says which."""
    return isinstance(exc, Refused) and 400 < exc.answered < 500 and exc.answered != 429


def choice(typed: str, options: Sequence[Any]) -> dict[str, Any] | None:
    """The typed answer for the API; None if it is not one. An empty line is not."""
    word = typed.strip().lower()
    if word in ("y", "yes"):
        return {"granted": True}
    if word in ("n", "no"):
        return {"granted": False}
    if word.isascii() and word.isdigit() and 1 <= int(word[:4]) <= len(options):
        return {"option_id": options[int(word[:4]) - 1].get("optionId")}
    return None


async def ask_line(screen: Screen, question: str) -> str:
    """The line that is typed after a question; empty for Ctrl-D."""
    screen.ask(question)
    typed = await _typed_line()
    if typed:
        screen.entered()
    return typed


async def _typed_line() -> str:
    """A line from the terminal, without a thread, which could not be stopped."""
    loop = asyncio.get_running_loop()
    descriptor = sys.stdin.fileno()
    typed: asyncio.Future[str] = loop.create_future()
    raw = bytearray()

    def read() -> None:
        if typed.done():
            return
        try:
            piece = os.read(descriptor, 4096)
        except OSError:
            piece = b""
        raw.extend(piece)
        if piece.endswith(b"\n") or (not piece and os.isatty(descriptor)):
            loop.remove_reader(descriptor)
            typed.set_result(raw.decode("utf-8", "replace"))
        elif not piece:
            # The terminal is gone; others may still answer.
            loop.remove_reader(descriptor)

    loop.add_reader(descriptor, read)
    try:
        return await typed
    finally:
        loop.remove_reader(descriptor)
