"""What a prompt tells the fake container's agent to do: the part of the demo agent's directives that needs no files.

Each line of the prompt is one, so that a test written in them runs against the agent host's ``demo`` as well:

    say TEXT          one message chunk
    stream N          N message chunks "tok0 " … (10 without N)
    think TEXT        a thought
    plan A; B; C      a plan, worked through
    tool              a tool call in three steps with a diff of hello.txt, and a message about it
    permission        the same; a container of part 1 allows it by itself
    write PATH TEXT   the same for another file
    output TEXT       what a running tool has printed so far (the `demo` has none)
    ask QUESTION      says "allowed"
    slow SECONDS      waits (a cancel ends the wait), then says "done"
    deaf SECONDS      waits, whoever cancels
    env NAME          says what ``spawn`` has put into that variable
    fail TEXT         the turn fails with TEXT
    crash             the agent's process ends in the middle of the turn
    anything else     comes back as one message chunk

Nothing is written to any disk.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import attrs

Update = dict[str, Any]


class TurnFailed(Exception):
    """The agent answered the prompt with an error."""


@attrs.frozen
class Wait:
    """Nothing happens for a time, in seconds."""

    seconds: float
    #: Whether a cancel ends it.
    heedful: bool = True


@attrs.frozen
class Fail:
    """The turn ends with an error."""

    message: str


@attrs.frozen
class Crash:
    """The agent's process ends."""


Step = Update | Wait | Fail | Crash


def steps(prompt: str, env: Mapping[str, str]) -> Iterator[Step]:
    """What happens in a turn, in order; ``env`` is the agent's environment."""
    lines = [line.strip() for line in prompt.splitlines() if line.strip()]
    for number, line in enumerate(lines):
        yield from _play(line, f"call-{number}", env)


def _play(line: str, call_id: str, env: Mapping[str, str]) -> Iterator[Step]:
    verb, _, rest = line.partition(" ")
    match verb.lower():
        case "say":
            yield _message(rest)
        case "stream":
            yield from (_message(f"tok{number} ") for number in range(int(rest or 10)))
        case "think":
            yield _chunk("agent_thought_chunk", rest or "thinking")
        case "plan":
            yield from _plan(rest or "Read the code; Change it")
        case "tool" | "permission":
            yield from _edit(call_id, "hello.txt", "hello")
        case "write":
            path, _, text = rest.partition(" ")
            yield from _edit(call_id, path, text)
        case "output":
            output = {"rawOutput": {"output": rest}, "status": "in_progress"}
            yield {"toolCallId": call_id, **output, "sessionUpdate": "tool_call_update"}
        case "ask":
            yield _message("allowed\n")
        case "slow":
            yield Wait(float(rest or 1))
            yield _message("done\n")
        case "deaf":
            yield Wait(float(rest or 1), heedful=False)
        case "env":
            yield _message(f"{rest}={env[rest]}\n" if rest in env else f"{rest} is not set\n")
        case "fail":
            yield Fail(rest or "this prompt was told to fail")
        case "crash":
            yield Crash()
        case _:
            yield _message(line)


def _message(text: str) -> Update:
    return _chunk("agent_message_chunk", text)


def _chunk(kind: str, text: str) -> Update:
    return {"content": {"text": text, "type": "text"}, "sessionUpdate": kind}


def _plan(text: str) -> Iterator[Update]:
    names = [name.strip() for name in text.split(";")]
    for done in range(len(names) + 1):
        states = ["completed"] * done + ["in_progress"] + ["pending"] * len(names)
        entries = [
            {"content": name, "priority": "medium", "status": state} for name, state in zip(names, states, strict=False)
        ]
        yield {"entries": entries, "sessionUpdate": "plan"}


def _edit(call_id: str, name: str, text: str) -> Iterator[Update]:
    path = f"/workspace/{name}"
    change = {"content": [{"type": "diff", "path": path, "oldText": None, "newText": text + "\n"}]}
    call = {"toolCallId": call_id, "title": f"Write {name}", "kind": "edit", "locations": [{"path": path}]}
    yield {**call, **change, "rawInput": {"path": path}, "status": "pending", "sessionUpdate": "tool_call"}
    yield {"toolCallId": call_id, "status": "in_progress", "sessionUpdate": "tool_call_update"}
    yield {"toolCallId": call_id, **change, "status": "completed", "sessionUpdate": "tool_call_update"}
    yield _message(f"I wrote {name}.\n")
