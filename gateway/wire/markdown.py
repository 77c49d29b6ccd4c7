"""Messages as Markdown, for people (CommonMark 0.31).

What somebody else wrote cannot leave its place: text is quoted, line by line, so that a fence or heading in it ends
with the quotation; anything else stands in a fence longer than any inside of it.
"""

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from gateway.wire.messages import Message

_LINE_END: Final = re.compile(r"\r\n|\r|\n")
_SPECIAL: Final = re.compile(r"([\\`*_\[\]<>#|&!~])")
_TITLES: Final = {"user": "User", "assistant": "Assistant", "thought": "Thought", "tool": "Tool", "plan": "Plan"}
_MARKS: Final = {"completed": "[x]", "in_progress": "[ ] (in progress)"}
#: Finding the common lines of longer texts takes too long: these are shown one after the other.
MAX_DIFF_LINES: Final = 2_000


def heading(title: str | None, facts: Mapping[str, str | None]) -> str:
    """What a transcript begins with: its title, and what is known of it."""
    lines = [f"- {name}: {inline(value)}\n" for name, value in facts.items() if value]
    return f"# {inline(title or 'Session')}\n\n{''.join(lines)}\n"


def message(value: Message) -> str:
    """A message as a section of its own."""
    shown = value.to_json()
    match value.role:
        case "tool":
            title, parts = _tool(_mapping(shown.get("toolCall")))
        case "plan":
            title, parts = "Plan", _plan(shown.get("entries"))
        case _:
            title, parts = _TITLES.get(value.role, inline(value.role)), _blocks(shown.get("content"))
    body = "\n\n".join(part for part in parts if part)
    return f"## {title} · {shown['at']}\n\n{body}\n\n"


def inline(text: object) -> str:
    """Text on one line in which nothing means anything to Markdown."""
    return _SPECIAL.sub(r"\\\1", " ".join(str(text).split()))


def quote(text: str) -> str:
    """Text, Markdown or not, as a quotation."""
    return "\n".join(f"> {line}".rstrip(" ") for line in _LINE_END.split(text))


def fence(text: str, language: str = "") -> str:
    """Text as it is, in a fence that nothing in it closes."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    marks = "`" * max(3, longest + 1)
    # A lone CR ends a line too.
    return f"{marks}{language}\n{_LINE_END.sub(chr(10), text)}\n{marks}"


def _blocks(blocks: Any) -> Iterator[str]:
    for block in _list(blocks):
        yield _block(block)


def _block(block: Any) -> str:
    match block:
        case {"type": "text", "text": str(text)}:
            return quote(text)
        case {"type": "image" | "audio" as kind, "mimeType": mime, "data": str(data)}:
            return f"*({kind}: {inline(mime)}, {len(data)} bytes in base64)*"
        case {"type": "resource_link", "uri": uri, **rest}:
            return f"*({inline(rest.get('title') or rest.get('name') or 'link')}: {inline(uri)})*"
        case {"type": "resource", "resource": {"uri": uri, "text": str(text)}}:
            return f"*({inline(uri)})*\n\n{fence(text)}"
        case _:
            return _json(block)


def _tool(call: Mapping[str, Any]) -> tuple[str, Iterator[str]]:
    facts = ", ".join(inline(call[name]) for name in ("kind", "status") if call.get(name))
    title = f"Tool: {inline(call.get('title') or call.get('toolCallId') or '')}"
    return f"{title} ({facts})" if facts else title, _tool_parts(call)


def _tool_parts(call: Mapping[str, Any]) -> Iterator[str]:
    if call.get("rawInput") is not None:
        yield "Input:"
        yield _json(call["rawInput"])
    for part in _list(call.get("content")):
        match part:
            case {"type": "content", "content": block}:
                yield _block(block)
            case {"type": "diff", "path": path, "newText": str(new), **rest}:
                yield f"Change of {inline(path)}:"
                yield fence(_diff(str(rest.get("oldText") or ""), new), "diff")
            case _:
                yield _json(part)
    if call.get("rawOutput") is not None:
        yield "Output:"
        yield _json(call["rawOutput"])


def _diff(old: str, new: str) -> str:
    before, after = (_LINE_END.split(text) if text else [] for text in (old, new))
    if len(before) + len(after) > MAX_DIFF_LINES:
        return "\n".join([*(f"-{line}" for line in before), *(f"+{line}" for line in after)])
    return "\n".join(list(difflib.unified_diff(before, after, lineterm=""))[2:])


def _plan(entries: Any) -> Iterator[str]:
    lines = []
    for entry in _list(entries):
        known = _mapping(entry)
        lines.append(f"- {_MARKS.get(str(known.get('status')), '[ ]')} {inline(known.get('content') or entry)}")
    yield "\n".join(lines)


def _json(value: Any) -> str:
    if isinstance(value, str):
        return fence(value)
    # Half a surrogate pair, which JSON may hold and UTF-8 may not, stays escaped.
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return fence(text.encode("utf-8", "backslashreplace").decode(), "json")


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
