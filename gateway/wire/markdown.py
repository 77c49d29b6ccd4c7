"""Messages as Markdown, for people (CommonMark 0.31).

Foreign text cannot leave its place: text is quoted line by line, so that a fence or heading in it ends with the
quotation; anything else is in a fence longer than any inside.

A message may be megabytes of line breaks. It is written in a thread, and no single call holds the interpreter for long:
none makes a list of all lines or searches a whole text for a pattern.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any, Final

import msgspec

from gateway.wire.codec import parse_foreign_json, raw_members
from gateway.wire.events import FileWritten
from gateway.wire.lines import changes
from gateway.wire.messages import Message
from gateway.wire.sentences import Sentences
from gateway.wire.times import timestamp

_LINE_END: Final = re.compile(r"\r\n|\r|\n")
_FENCE: Final = re.compile(r"`+")
_SPECIAL: Final = re.compile(r"([\\`*_\[\]<>#|&!~])")
_TITLES: Final = {"user": "User", "assistant": "Assistant", "thought": "Thought", "tool": "Tool", "plan": "Plan"}
_MARKS: Final = {"completed": "[x]", "in_progress": "[ ] (in progress)"}
#: Finding the common lines of longer texts takes too long: these are shown one after the other.
MAX_DIFF_LINES: Final = 2_000
#: Characters of a text on one line.
MAX_INLINE: Final = 2_000
#: Lines, and characters, of a piece.
_LINES_AT_ONCE: Final = 1_000
_PIECE: Final = 65_536


def heading(title: str | None, facts: Mapping[str, str | None]) -> str:
    """What a transcript begins with: its title, and what is known of it."""
    lines = [f"- {name}: {inline(value)}\n" for name, value in facts.items() if value]
    return f"# {inline(title or 'Session')}\n\n{''.join(lines)}\n"


def message(value: Message, sentences: Sentences) -> Iterator[str]:
    """A message as a section of its own, in pieces; ``sentences`` has told the events before it."""
    shown = raw_members(value.body)
    match value.role:
        case "event":
            title, parts = _event(shown, sentences)
        case "tool":
            call = {name: parse_foreign_json(raw) for name, raw in raw_members(shown.get("toolCall", b"{}")).items()}
            title, parts = _tool(call, parse_foreign_json(shown.get("omitted", b"[]")))
        case "terminal":
            title, parts = "Command", _terminal(_mapping(parse_foreign_json(shown.get("terminal", b"{}"))))
        case "plan":
            title, parts = "Plan", _plan(parse_foreign_json(shown.get("entries", b"[]")))
        case _:
            blocks = parse_foreign_json(shown.get("content", b"[]"))
            title, parts = _TITLES.get(value.role, inline(value.role)), map(_block, _list(blocks))
            if (author := shown.get("author")) is not None:
                title = f"{title} {inline(parse_foreign_json(author))}"
    yield f"## {title} · {timestamp(value.at)}\n\n"
    for part in parts:
        yield from part
        yield "\n\n"


def inline(text: object) -> str:
    """Text on one line with all Markdown escaped; shortened if it is long."""
    shown = str(text)
    if len(shown) > MAX_INLINE:
        shown = f"{shown[:MAX_INLINE]}…"
    return _SPECIAL.sub(r"\\\1", " ".join(shown.split()))


def quote(text: str) -> Iterator[str]:
    """Text, Markdown or not, as a quotation."""
    return _marked(text, "> ", strip=True)


def fence(text: str, language: str = "") -> Iterator[str]:
    """Text in a fence that nothing in it closes."""
    longest = max((len(run[0]) for run in _FENCE.finditer(text)), default=0)
    marks = "`" * max(3, longest + 1)
    yield f"{marks}{language}\n"
    yield from _cut(_with_line_feeds(text))
    yield f"\n{marks}"


def _marked(text: str, mark: str, *, strip: bool = False) -> Iterator[str]:
    """Each line after a mark."""
    lines = _lines(text)
    end = ""
    while some := list(islice(lines, _LINES_AT_ONCE)):
        yield from _cut(end + "\n".join([(mark + line).rstrip(" ") if strip else mark + line for line in some]))
        end = "\n"


def _cut(text: str) -> Iterator[str]:
    for start in range(0, len(text), _PIECE):
        yield text[start : start + _PIECE]


def _lines(text: str) -> Iterator[str]:
    place = 0
    for end in _LINE_END.finditer(text):
        yield text[place : end.start()]
        place = end.end()
    yield text[place:]


def _with_line_feeds(text: str) -> str:
    # A lone CR ends a line too.
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _block(block: Any) -> Iterator[str]:
    match block:
        case {"type": "text", "text": str(text)}:
            yield from quote(text)
        case {"type": "image" | "audio" as kind, "mimeType": mime, "data": str(data)}:
            yield f"*({kind}: {inline(mime)}, {len(data)} bytes in base64)*"
        case {"type": "resource_link", "uri": uri, **rest}:
            yield f"*({inline(rest.get('title') or rest.get('name') or 'link')}: {inline(uri)})*"
        case {"type": "resource", "resource": {"uri": uri, "text": str(text)}}:
            yield f"*({inline(uri)})*\n\n"
            yield from fence(text)
        case _:
            yield from _json(block)


def _event(shown: Mapping[str, msgspec.Raw], sentences: Sentences) -> tuple[str, Iterator[Iterable[str]]]:
    type, data = parse_foreign_json(shown.get("event", b'""')), parse_foreign_json(shown.get("data", b"{}"))
    title, lines = sentences.of(str(type), data)
    said: list[Iterable[str]] = [[f"*{inline(line)}*"] for line in lines]
    match type, data:
        case FileWritten.type, {"newText": str(new), **rest} if not rest.get("omitted"):
            said.append(_diff(str(rest.get("oldText") or ""), new))
    return inline(title), chain(said, _filled(parse_foreign_json(shown.get("filled", b"[]"))))


def _filled(parts: Sequence[Mapping[str, Any]]) -> Iterator[Iterable[str]]:
    """What the agent's own history had of a gap."""
    if parts:
        yield ["*This was filled in from the agent's own history:*"]
    for part in parts:
        if part["role"] == "tool":
            title, lines = _tool(part["toolCall"], _list(part.get("omitted")))
            yield [f"**{title}**"]
            yield from lines
        else:
            if part["role"] == "thought":
                yield ["**Thought**"]
            yield from map(_block, _list(part.get("content")))


def _terminal(ran: Mapping[str, Any]) -> Iterator[Iterable[str]]:
    command = " ".join(map(str, (ran.get("command", ran.get("terminalId")), *_list(ran.get("args")))))
    yield fence(f"$ {command}\n{ran.get('output', '')}")
    if ran.get("omittedBytes"):
        yield [f"*({inline(ran['omittedBytes'])} bytes were too many to keep)*"]
        yield fence(str(ran.get("outputEnd", "")))
    match ran.get("exitStatus"):
        case {"signal": str(signal)}:
            yield [f"*It was ended by {inline(signal)}.*"]
        case {"exitCode": int(code)}:
            yield [f"*It ended with exit status {code}.*"]
        case None:
            yield ["*It had not ended.*"]


def _tool(call: Mapping[str, Any], omitted: Sequence[str]) -> tuple[str, Iterator[Iterable[str]]]:
    facts = ", ".join(inline(call[name]) for name in ("kind", "status") if call.get(name))
    title = f"Tool: {inline(call.get('title') or call.get('toolCallId') or '')}"
    return f"{title} ({facts})" if facts else title, _tool_parts(call, omitted)


def _tool_parts(call: Mapping[str, Any], omitted: Sequence[str]) -> Iterator[Iterable[str]]:
    if call.get("rawInput") is not None:
        yield ["Input:"]
        yield _json(call["rawInput"])
    for part in _list(call.get("content")):
        match part:
            case {"type": "content", "content": block}:
                yield _block(block)
            case {"type": "terminal", "terminalId": terminal_id}:
                yield [f"*(the command of terminal {inline(terminal_id)})*"]
            case {"type": "diff", "path": path, "newText": str(new), **rest}:
                yield [f"Change of {inline(path)}:"]
                yield _diff(str(rest.get("oldText") or ""), new)
            case _:
                yield _json(part)
    if call.get("rawOutput") is not None:
        yield ["Output:"]
        yield _json(call["rawOutput"])
    if omitted:
        yield [f"*(too large to keep: {inline(', '.join(map(str, omitted)))})*"]


def _diff(old: str, new: str) -> Iterator[str]:
    texts = old, new
    marks = "`" * (max(2, *(len(run[0]) for text in texts for run in _FENCE.finditer(text)), 0) + 1)
    yield f"{marks}diff\n"
    if sum(text.count("\n") + 1 for text in texts if text) > MAX_DIFF_LINES:
        for text, mark in zip(texts, "-+", strict=True):
            if text:
                yield from _marked(text, mark)
                yield "\n"
    else:
        yield from (f"{line}\n" for line in changes(old, new))
    yield marks


def _plan(entries: Any) -> Iterator[Iterable[str]]:
    def lines() -> Iterator[str]:
        for entry in _list(entries):
            known = _mapping(entry)
            yield f"- {_MARKS.get(str(known.get('status')), '[ ]')} {inline(known.get('content') or entry)}\n"

    yield lines()


def _json(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield from fence(value)
        return
    # Lone surrogates, which JSON may have and UTF-8 may not, stay escaped.
    text = json.dumps(value, indent=2, ensure_ascii=False)
    yield from fence(text.encode("utf-8", "backslashreplace").decode(), "json")


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
