"""Shows the gateway's answers: as JSON for scripts, as lists and members for people."""

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from gateway.cli.terminal.screen import Screen
from gateway.cli.terminal.table import Column, table
from gateway.cli.terminal.text import cell, local_time

_WORD: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")


def show_list(
    options: argparse.Namespace, screen: Screen, rows: Sequence[Any], columns: Sequence[Column], *, empty: str
) -> None:
    """``empty``: the text for an empty list, with what to do next."""
    if options.json:
        screen.json(rows)
    elif rows:
        screen.lines(table(columns, rows))
    else:
        screen.note(empty)


def show_members(options: argparse.Namespace, screen: Screen, value: Any) -> None:
    if options.json:
        screen.json(value)
    elif isinstance(value, dict):
        screen.lines(members({_words(name): _member(name, member) for name, member in value.items()}))


def say(options: argparse.Namespace, screen: Screen, value: Any, text: str, style: str = "") -> None:
    """A sentence for people; for scripts the gateway's answer, unless it is None."""
    if not options.json:
        screen.note(text, style)
    elif value is not None:
        screen.json(value)


def away_notes(screen: Screen) -> Callable[[str | None], None]:
    """Notes when the gateway becomes unreachable and when it is back."""

    def tell(why: str | None) -> None:
        if why is None:
            screen.note("the gateway is back", "dim")
        else:
            screen.note(f"the gateway is unreachable; events are shown when it is back ({why})", "yellow")

    return tell


def members(named: Mapping[str, str]) -> list[str]:
    width = max(map(len, named), default=0)
    return [f"{name.ljust(width)}  {text}" for name, text in named.items()]


def _words(name: str) -> str:
    """A member's name as words."""
    return " ".join(part if part.isupper() else part.lower() for part in _WORD.split(name)).replace("url", "URL")


def _member(name: str, member: Any) -> str:
    return local_time(member) if name.endswith("At") or name == "lastActivity" else cell(member)
