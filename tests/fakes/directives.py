"""What a prompt tells the fake container's agent to do.

Each line of the prompt is a directive, in any case:

    stream N          N message chunks "tok0 " … "tokN-1 "
    slow S            waits S seconds (a cancel ends the wait)
    think [TEXT]      a thought
    plan              a plan of two entries
    tool              a tool call in three steps, with a diff of hello.txt
    permission        a tool call that needs a permission; this container allows it by itself
    fail [TEXT]       the turn fails with TEXT
    anything else     comes back as one message chunk
"""

import re
from collections.abc import Iterator
from typing import Any

import attrs


class TurnFailed(Exception):
    """The agent answered the prompt with an error."""


@attrs.frozen
class Wait:
    """Nothing happens for a time, in seconds."""

    seconds: float


@attrs.frozen
class Fail:
    """The turn ends with an error."""

    message: str


Update = dict[str, Any]
_DIRECTIVE = re.compile(r"(stream|slow|think|plan|tool|permission|fail)\b\s*(.*)", re.IGNORECASE)


def steps(prompt: str) -> Iterator[Update | Wait | Fail]:
    """What happens in a turn, in order: ACP updates, waits, and perhaps a failure."""
    for number, line in enumerate(line for line in prompt.splitlines() if line.strip()):
        match = _DIRECTIVE.fullmatch(line.strip())
        if match is None:
            yield message(line)
            continue
        word, rest = match[1].lower(), match[2]
        if word == "stream":
            yield from (message(f"tok{n} ") for n in range(int(rest or 10)))
        elif word == "slow":
            yield Wait(float(rest or 1))
        elif word == "think":
            yield _chunk("agent_thought_chunk", rest or "thinking")
        elif word == "plan":
            yield _plan()
        elif word == "fail":
            yield Fail(rest or "the agent was told to fail")
        else:
            yield from _tool_call(f"call_{number}")


def message(text: str) -> Update:
    """A piece of the agent's answer."""
    return _chunk("agent_message_chunk", text)


def _chunk(kind: str, text: str) -> Update:
    return {"content": {"text": text, "type": "text"}, "sessionUpdate": kind}


def _plan() -> Update:
    entries = [
        {"content": "Read the code", "priority": "high", "status": "completed"},
        {"content": "Change it", "priority": "medium", "status": "in_progress"},
    ]
    return {"entries": entries, "sessionUpdate": "plan"}


def _tool_call(call_id: str) -> Iterator[Update]:
    diff = {"type": "diff", "path": "hello.txt", "oldText": None, "newText": "hello\n"}
    call = {"toolCallId": call_id, "title": "Write hello.txt", "kind": "edit", "rawInput": {"path": "hello.txt"}}
    yield {**call, "status": "pending", "sessionUpdate": "tool_call"}
    yield {"toolCallId": call_id, "status": "in_progress", "sessionUpdate": "tool_call_update"}
    yield {
        "toolCallId": call_id,
        "status": "completed",
        "content": [diff],
        "rawOutput": {"ok": True},
        "sessionUpdate": "tool_call_update",
    }
