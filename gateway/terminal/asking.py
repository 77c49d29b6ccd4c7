"""Permissions, asked for in the terminal: the agent's own options, and no answer by accident."""

import asyncio
import os
import sys
from collections.abc import Sequence
from typing import Any

from gateway.client import Project, Refused
from gateway.terminal.asked import lines_of
from gateway.terminal.screen import Screen


async def ask(screen: Screen, project: Project, permission_id: str, tool_call: Any, options: Any) -> None:
    """Ask until one of the options is chosen, and bring the answer; until cancelled, since others may answer it."""
    title = tool_call.get("title") if isinstance(tool_call, dict) else None
    named = [one for one in options if isinstance(one, dict)] if isinstance(options, list) else []
    screen.note(f"? {title or 'The agent asks for permission'}", "yellow")
    for line in lines_of(tool_call):
        screen.note(f"  {line}", "dim")
    for number, option in enumerate(named, 1):
        screen.note(f"  {number}) {option.get('name') or option.get('optionId')}")
    while True:
        screen.ask(f"1-{len(named)}, y (allow once) or n (refuse):" if named else "y (allow once) or n (refuse):")
        chosen = choice(await typed_line(), named)
        if chosen is None:
            screen.note("Type a number, y or n.", "dim")
            continue
        try:
            await project.answer(permission_id, **chosen)
        except Refused as exc:
            # Somebody was faster, or nobody waits any more: its event says which.
            screen.note(str(exc), "red")
            if exc.answered == 400:
                continue
        return


def choice(typed: str, options: Sequence[Any]) -> dict[str, Any] | None:
    """What somebody typed as the API takes it; None where it is no answer. An empty line is none."""
    word = typed.strip().lower()
    if word in ("y", "yes"):
        return {"granted": True}
    if word in ("n", "no"):
        return {"granted": False}
    if word.isascii() and word.isdigit() and 1 <= int(word[:4]) <= len(options):
        return {"option_id": options[int(word[:4]) - 1].get("optionId")}
    return None


async def typed_line() -> str:
    """A line from standard input, without a thread that could not be stopped. At its end: whoever waits, waits on."""
    loop = asyncio.get_running_loop()
    typed: asyncio.Future[str] = loop.create_future()
    raw = bytearray()

    def read() -> None:
        piece = os.read(sys.stdin.fileno(), 4096)
        raw.extend(piece)
        if not piece:
            loop.remove_reader(sys.stdin.fileno())
        elif piece.endswith(b"\n") and not typed.done():
            typed.set_result(raw.decode("utf-8", "replace"))

    loop.add_reader(sys.stdin.fileno(), read)
    try:
        return await typed
    finally:
        loop.remove_reader(sys.stdin.fileno())
