"""A tool call as lines, so that people see what they allow."""

from collections.abc import Iterator
from typing import Any, Final

from gateway.wire.lines import changes

#: Of a change or a command; more is a look at the permission request itself.
MOST_LINES: Final = 20
#: What the gateway could not store with a request, being too long; see docs/api.md.
_OMITTED: Final = "acp-gateway/omitted"
_CUT: Final = "acp-gateway/cut"


def call_title(tool_call: Any) -> str | None:
    """The tool call's title, if any."""
    title = tool_call.get("title") if isinstance(tool_call, dict) else None
    return title if isinstance(title, str) else None


def lines_of(tool_call: Any) -> list[str]:
    """The kind, the paths, and what it would run or change; a tool call may have any shape."""
    if not isinstance(tool_call, dict):
        return []
    kind, paths = tool_call.get("kind"), list(_paths(tool_call))
    head = ": ".join(filter(None, [kind if isinstance(kind, str) else "", ", ".join(paths)]))
    body = list(_body(tool_call))
    more = len(body) - MOST_LINES
    cut = [f"… {more} more lines"] if more > 0 else []
    return [*filter(None, [head]), *body[:MOST_LINES], *cut, *_left_out(tool_call.get("_meta"))]


def _left_out(meta: Any) -> Iterator[str]:
    if not isinstance(meta, dict):
        return
    if meta.get(_CUT) is True:
        yield "too large to be kept as a whole: these are the beginnings of what it says"
    names = meta.get(_OMITTED)
    if isinstance(names, list):
        yield f"too long to be shown here: {', '.join(map(str, names))}; the session's history has it"


def _paths(tool_call: dict[str, Any]) -> Iterator[str]:
    for location in _dicts(tool_call.get("locations")):
        if isinstance(location.get("path"), str):
            yield location["path"]


def _body(tool_call: dict[str, Any]) -> Iterator[str]:
    raw = tool_call.get("rawInput")
    command = raw.get("command") if isinstance(raw, dict) else None
    if isinstance(command, list):
        command = " ".join(map(str, command))
    if isinstance(command, str):
        yield from command.split("\n")
    for item in _dicts(tool_call.get("content")):
        if item.get("type") == "diff":
            yield from _diff(item)


def _diff(item: dict[str, Any]) -> Iterator[str]:
    path = str(item.get("path") or "")
    old, new = (text if isinstance(text := item.get(name), str) else "" for name in ("oldText", "newText"))
    if shown := list(changes(old, new, context=2)):
        yield from (f"--- {path}", f"+++ {path}", *shown)


def _dicts(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, list):
        yield from (one for one in value if isinstance(one, dict))
