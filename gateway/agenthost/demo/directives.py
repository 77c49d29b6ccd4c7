"""What the lines of a prompt make the agent do: the table that `help` shows, and a function for each row."""

import os
import sys
import threading
import time
from collections.abc import Callable
from typing import NamedTuple, NoReturn

from gateway.agenthost.demo.rpc import INTERNAL_ERROR, INVALID_PARAMS, RpcError
from gateway.agenthost.demo.turn import Turn


class Directive(NamedTuple):
    usage: str
    effect: str
    #: Called with the text after the first word.
    act: Callable[[Turn, str], None]


def follow(turn: Turn, text: str) -> None:
    """Follow each line; if the first is no directive, play the scene."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines or lines[0].split()[0].lower() not in _BY_VERB:
        _play_scene(turn, text)
        return
    for line in lines:
        verb, _, rest = line.partition(" ")
        if (directive := _BY_VERB.get(verb.lower())) is None:
            turn.say(f"I do not know {verb}; try help.\n")
        else:
            directive.act(turn, rest.strip())


def _help(turn: Turn, _: str) -> None:
    width = max(len(one.usage) for one in DIRECTIVES)
    turn.say("".join(f"{one.usage:<{width}}  {one.effect}\n" for one in DIRECTIVES))


def _stream(turn: Turn, count: str) -> None:
    for number in range(_whole(count or "10", "stream")):
        turn.say(f"tok{number} ")
        turn.pause()


def _think(turn: Turn, text: str) -> None:
    turn.think(text or "thinking")


def _plan(turn: Turn, steps: str) -> None:
    names = [step.strip() for step in (steps or "Read the code; Change it").split(";")]
    for done in range(len(names) + 1):
        turn.show_plan(names, done)
        turn.pause()


def _tool(turn: Turn, _: str) -> None:
    turn.edit("hello.txt", "hello", ask=False)


def _permission(turn: Turn, _: str) -> None:
    turn.edit("hello.txt", "hello", ask=True)


def _write(turn: Turn, rest: str) -> None:
    name, _, text = rest.partition(" ")
    turn.edit(name, text, ask=True)


def _read(turn: Turn, name: str) -> None:
    try:
        content = turn.read(name)
    except RpcError as exc:
        content = f"I could not read {name}: {exc}\n"
    turn.say(content)


def _ask(turn: Turn, question: str) -> None:
    turn.say("allowed\n" if turn.ask(question or "May I?") else "rejected\n")


def _slow(turn: Turn, seconds: str) -> None:
    turn.wait(_seconds(seconds or "1", "slow"))
    turn.say("done\n")


def _deaf(_: Turn, seconds: str) -> None:
    time.sleep(_seconds(seconds or "1", "deaf"))


def _env(turn: Turn, name: str) -> None:
    turn.say(f"{name}={os.environ[name]}\n" if name in os.environ else f"{name} is not set\n")


def _session(turn: Turn, _: str) -> None:
    conversation = turn.conversation
    turn.say(f"{conversation.id} prompts={conversation.prompts} pid={os.getpid()}\n")


def _fail(_: Turn, text: str) -> NoReturn:
    raise RpcError(INTERNAL_ERROR, text or "this prompt was told to fail")


def _crash(_: Turn, status: str) -> NoReturn:
    code = _whole(status or "1", "crash")
    sys.stderr.write("the demo agent was told to crash\n")
    sys.stderr.flush()
    # No cleanup; what was sent is already in the pipe.
    os._exit(code)


def _play_scene(turn: Turn, text: str) -> None:
    words = " ".join(text.split())[:60] or "nothing"
    turn.think(f"Somebody says: {words}. I will show what I can do.")
    steps = ["Read the prompt", "Answer it", "Ask to write a note about it"]
    for done in (0, 1):
        turn.show_plan(steps, done)
        turn.pause()
    answer = (
        "Hello! I am the demo agent: no model, no account, but real ACP. "
        "You have just seen a thought and a plan, and this text is streamed. "
        "Say `stream 2000`, `slow 5`, `run ls` or `help` to direct me. "
        "Now I will ask whether I may write a note into the workspace, and wait for the answer.\n"
    )
    for word in answer.split(" "):
        turn.say(word if word.endswith("\n") else f"{word} ")
        turn.pause()
    turn.show_plan(steps, 2)
    turn.edit("demo-note.txt", f"You said: {words}", ask=True)
    turn.show_plan(steps, 3)


DIRECTIVES = (
    Directive("help", "says this table", _help),
    Directive("say TEXT", "answers with TEXT", Turn.say),
    Directive("stream N", "answers with N chunks (10 without N): tok0 tok1 …", _stream),
    Directive("think TEXT", "thinks TEXT", _think),
    Directive("plan A; B; C", "makes a plan and works through it", _plan),
    Directive("tool", "writes hello.txt, a tool call in three steps with a diff", _tool),
    Directive("permission", "the same, but asks permission first", _permission),
    Directive("write PATH TEXT", "asks permission with a diff, then writes the file through the client", _write),
    Directive("read PATH", "reads a file through the client and says what is in it", _read),
    Directive("run COMMAND", "runs a command in a terminal of the client and says its output", Turn.run),
    Directive("ask QUESTION", "asks permission for nothing in particular, and says the outcome", _ask),
    Directive("slow SECONDS", "takes that long; can be cancelled", _slow),
    Directive("deaf SECONDS", "takes that long, and hears no cancel meanwhile", _deaf),
    Directive("env NAME", "says what it finds in an environment variable", _env),
    Directive("session", "says its own id of the session, its prompts so far, and its process", _session),
    Directive("fail TEXT", "answers the prompt with an error", _fail),
    Directive("crash STATUS", "ends at once, in the middle of the turn", _crash),
    Directive("any other text", "shows all this and asks permission to write demo-note.txt", _play_scene),
)
_BY_VERB = {one.usage.split()[0]: one for one in DIRECTIVES if one.act is not _play_scene}


def _whole(text: str, directive: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise RpcError(INVALID_PARAMS, f"{directive} needs a whole number of at most nine digits, not {text!r}")
    return int(text)


def _seconds(text: str, directive: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1
    if not 0 <= seconds <= threading.TIMEOUT_MAX:
        raise RpcError(INVALID_PARAMS, f"{directive} needs a number of seconds, not {text!r}")
    return seconds
