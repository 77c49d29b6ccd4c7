"""A small agent that speaks real ACP over stdio, needs no account, and does what the prompt says.

    python -m gateway.agenthost.demo

Each line of a prompt is a directive; any other text gets a short scene that shows what an agent can do.

| directive         | what the agent does                                                         |
|-------------------|-----------------------------------------------------------------------------|
| help              | says this table                                                             |
| say TEXT          | answers with TEXT                                                           |
| stream N          | answers with N chunks (10 without N): tok0 tok1 …                           |
| think TEXT        | thinks TEXT                                                                 |
| plan A; B; C      | makes a plan and works through it                                           |
| tool              | writes hello.txt, a tool call in three steps with a diff                    |
| permission        | the same, but asks permission first                                         |
| write PATH TEXT   | asks permission with a diff, then writes the file through the client        |
| read PATH         | reads a file through the client and says what is in it                      |
| run COMMAND       | runs a command in a terminal of the client and says its output              |
| ask QUESTION      | asks permission for nothing in particular, and says the outcome             |
| slow SECONDS      | takes that long; can be cancelled                                           |
| deaf SECONDS      | takes that long, and hears no cancel meanwhile                              |
| env NAME          | says what it finds in an environment variable                               |
| session           | says its own id of the session, its prompts so far, and its process         |
| fail TEXT         | answers the prompt with an error                                            |
| crash STATUS      | ends at once, in the middle of the turn                                     |
| any other text    | shows all this, asks permission to write demo-note.txt, waits for an answer |

Content blocks other than text are named with their type and size. There are two modes, `ask` and `auto` (which does
not ask before it writes), and one option, `speed`, for the pause between chunks. Sessions are kept in
`$XDG_STATE_HOME/acp-demo-agent`, so that they can be loaded after the process has ended.
"""

import asyncio
import base64
import json
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

from acp import (
    PROTOCOL_VERSION,
    RequestError,
    run_agent,
    start_tool_call,
    text_block,
    tool_content,
    tool_diff_content,
    tool_terminal_ref,
    update_agent_message_text,
    update_agent_thought_text,
    update_plan,
    update_tool_call,
    update_user_message_text,
)
from acp.helpers import plan_entry
from acp.interfaces import Client
from acp.schema import (
    AgentCapabilities,
    AllowedOutcome,
    CurrentModeUpdate,
    Implementation,
    InitializeResponse,
    LoadSessionResponse,
    NewSessionResponse,
    PermissionOption,
    PromptCapabilities,
    PromptResponse,
    SessionConfigOptionSelect,
    SessionConfigSelectOption,
    SessionMode,
    SessionModeState,
    SetSessionConfigOptionResponse,
    SetSessionModeResponse,
    ToolCallLocation,
    ToolCallUpdate,
)

from gateway import __version__

_MODES = {"ask": ("Ask", "Asks before it writes"), "auto": ("Auto", "Writes without asking")}
#: Seconds between two chunks.
_SPEEDS = {"instant": 0.0, "normal": 0.01, "slow": 0.2}
_OPTIONS = [
    PermissionOption(option_id="allow", name="Allow once", kind="allow_once"),
    PermissionOption(option_id="always", name="Always allow", kind="allow_always"),
    PermissionOption(option_id="reject", name="Reject", kind="reject_once"),
]


def directives() -> dict[str, str]:
    """The table above: what is written → what is done."""
    rows = [line.strip("|").split("|") for line in (__doc__ or "").splitlines() if line.startswith("| ")]
    return {usage.strip(): effect.strip() for usage, effect in rows[1:]}


class Conversation:
    """One session: what was said, and how the agent is set."""

    def __init__(self, session_id: str, cwd: str) -> None:
        self.id = session_id
        self.cwd = cwd
        self.mode = "ask"
        self.speed = "instant"
        self.always_allowed = False
        self.history: list[tuple[str, str]] = []
        self.cancelled = asyncio.Event()

    @property
    def prompts(self) -> int:
        return sum(role == "user" for role, _ in self.history)

    def save(self) -> None:
        path = _state_file(self.id)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        kept = {"mode": self.mode, "speed": self.speed, "history": self.history}
        path.write_text(json.dumps(kept), "utf-8")

    @classmethod
    def load(cls, session_id: str, cwd: str) -> "Conversation":
        path = _state_file(session_id)
        # The id comes from outside, and becomes the name of a file.
        if not session_id.startswith("demo-") or not session_id[5:].isalnum() or not path.is_file():
            raise RequestError(-32602, f"there is no session {session_id}")
        kept = json.loads(path.read_text("utf-8"))
        conversation = cls(session_id, cwd)
        conversation.mode, conversation.speed = kept["mode"], kept["speed"]
        conversation.history = [(role, text) for role, text in kept["history"]]
        return conversation


def _state_file(session_id: str) -> Path:
    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return Path(state) / "acp-demo-agent" / f"{session_id}.json"


class Cancelled(Exception):
    """The client has cancelled the turn."""


class DemoAgent:
    """The agent's half of ACP."""

    def __init__(self) -> None:
        self._client: Client
        self._conversations: dict[str, Conversation] = {}

    def on_connect(self, conn: Client) -> None:
        self._client = conn

    async def initialize(self, protocol_version: int, **_: Any) -> InitializeResponse:
        return InitializeResponse(
            protocol_version=PROTOCOL_VERSION,
            agent_capabilities=AgentCapabilities(
                load_session=True,
                prompt_capabilities=PromptCapabilities(image=True, audio=True, embedded_context=True),
            ),
            agent_info=Implementation(name="demo", title="Demo agent", version=__version__),
        )

    async def authenticate(self, method_id: str, **_: Any) -> None:
        raise RequestError(-32602, f"there is no method {method_id}: this agent needs no account")

    async def new_session(self, cwd: str, **_: Any) -> NewSessionResponse:
        conversation = Conversation(f"demo-{uuid4().hex}", cwd)
        self._conversations[conversation.id] = conversation
        conversation.save()
        return NewSessionResponse(
            session_id=conversation.id, modes=_modes(conversation), config_options=_options(conversation)
        )

    async def load_session(self, cwd: str, session_id: str, **_: Any) -> LoadSessionResponse:
        conversation = Conversation.load(session_id, cwd)
        self._conversations[session_id] = conversation
        for role, text in conversation.history:
            tell = update_user_message_text if role == "user" else update_agent_message_text
            await self._client.session_update(session_id, tell(text))
        return LoadSessionResponse(modes=_modes(conversation), config_options=_options(conversation))

    async def list_sessions(self, **_: Any) -> Any:
        raise RequestError.method_not_found("session/list")

    async def set_session_mode(self, session_id: str, mode_id: str, **_: Any) -> SetSessionModeResponse:
        conversation = self._conversation(session_id)
        if mode_id not in _MODES:
            raise RequestError(-32602, f"there is no mode {mode_id}")
        conversation.mode = mode_id
        conversation.save()
        update = CurrentModeUpdate(session_update="current_mode_update", current_mode_id=mode_id)
        await self._client.session_update(session_id, update)
        return SetSessionModeResponse()

    async def set_config_option(
        self, config_id: str, session_id: str, value: str | bool, **_: Any
    ) -> SetSessionConfigOptionResponse:
        conversation = self._conversation(session_id)
        if config_id != "speed" or value not in _SPEEDS:
            raise RequestError(-32602, f"there is no option {config_id} with a value {value}")
        conversation.speed = str(value)
        conversation.save()
        return SetSessionConfigOptionResponse(config_options=_options(conversation))

    async def cancel(self, session_id: str, **_: Any) -> None:
        self._conversation(session_id).cancelled.set()

    async def prompt(self, session_id: str, prompt: list[Any], **_: Any) -> PromptResponse:
        conversation = self._conversation(session_id)
        conversation.cancelled.clear()
        text = "\n".join(block.text for block in prompt if block.type == "text")
        conversation.history.append(("user", text))
        conversation.save()
        turn = Turn(self._client, conversation)
        try:
            for block in prompt:
                if block.type != "text":
                    await turn.say(f"{_describe(block)}\n")
            if text.strip() or not prompt:
                await turn.follow(text)
        except Cancelled:
            return PromptResponse(stop_reason="cancelled")
        finally:
            conversation.history.append(("agent", turn.said))
            conversation.save()
        return PromptResponse(stop_reason="end_turn")

    def _conversation(self, session_id: str) -> Conversation:
        if (conversation := self._conversations.get(session_id)) is None:
            raise RequestError(-32602, f"there is no session {session_id}")
        return conversation


class Turn:
    """One prompt at work."""

    def __init__(self, client: Client, conversation: Conversation) -> None:
        self._client = client
        self._conversation = conversation
        self.said = ""
        self._verbs: dict[str, Callable[[str], Awaitable[None]]] = {
            "help": self._help,
            "say": self.say,
            "stream": self._stream,
            "think": self._think,
            "plan": self._plan,
            "tool": self._tool,
            "permission": self._permission,
            "write": self._write,
            "read": self._read,
            "run": self._run,
            "ask": self._ask,
            "slow": self._slow,
            "deaf": self._deaf,
            "env": self._env,
            "session": self._session,
            "fail": self._fail,
            "crash": self._crash,
        }

    async def follow(self, text: str) -> None:
        """Do what each line says; where the first is no directive, play the scene."""
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        if not lines or lines[0].split()[0].lower() not in self._verbs:
            await self._scene(text)
            return
        for line in lines:
            verb, _, rest = line.partition(" ")
            if (act := self._verbs.get(verb.lower())) is None:
                await self.say(f"I do not know {verb}; try help.\n")
                continue
            await act(rest.strip())

    async def say(self, text: str) -> None:
        self._check()
        self.said += text
        await self._update(update_agent_message_text(text))

    async def _help(self, _: str) -> None:
        table = directives()
        width = max(map(len, table))
        await self.say("".join(f"{usage:<{width}}  {effect}\n" for usage, effect in table.items()))

    async def _stream(self, count: str) -> None:
        for number in range(_whole(count or "10", "stream")):
            await self.say(f"tok{number} ")
            await self._pause()

    async def _think(self, text: str) -> None:
        await self._update(update_agent_thought_text(text or "thinking"))

    async def _plan(self, steps: str) -> None:
        names = [step.strip() for step in (steps or "Read the code; Change it").split(";")]
        for done in range(len(names) + 1):
            await self._show_plan(names, done)
            await self._pause()

    async def _show_plan(self, names: list[str], done: int) -> None:
        """With so many of its steps done, and the next one under way."""
        entries = [plan_entry(name, status=_state(number - done)) for number, name in enumerate(names)]
        await self._update(update_plan(entries))

    async def _tool(self, _: str) -> None:
        await self._edit("hello.txt", "hello", ask=False)

    async def _permission(self, _: str) -> None:
        await self._edit("hello.txt", "hello", ask=True)

    async def _write(self, rest: str) -> None:
        name, _, text = rest.partition(" ")
        await self._edit(name, text, ask=True)

    async def _edit(self, name: str, text: str, *, ask: bool) -> None:
        path = self._path(name)
        try:
            old = (await self._client.read_text_file(self._conversation.id, path)).content
        except RequestError:
            old = None
        diff = tool_diff_content(path, text + "\n", old)
        call_id = f"call-{uuid4().hex[:8]}"
        where = [ToolCallLocation(path=path)]
        await self._update(
            start_tool_call(
                call_id,
                f"Write {name}",
                kind="edit",
                status="pending",
                content=[diff],
                locations=where,
                raw_input={"path": path},
            )
        )
        call = ToolCallUpdate(
            tool_call_id=call_id, title=f"Write {name}", kind="edit", status="pending", content=[diff], locations=where
        )
        if ask and not await self._allowed(call):
            await self._update(update_tool_call(call_id, status="failed"))
            await self.say(f"I did not write {name}.\n")
            return
        await self._update(update_tool_call(call_id, status="in_progress"))
        try:
            await self._client.write_text_file(self._conversation.id, path, text + "\n")
        except RequestError as exc:
            await self._update(update_tool_call(call_id, status="failed", content=[tool_content(text_block(str(exc)))]))
            await self.say(f"I could not write {name}: {exc}\n")
            return
        await self._update(update_tool_call(call_id, status="completed", content=[diff]))
        await self.say(f"I wrote {name}.\n")

    async def _read(self, name: str) -> None:
        try:
            content = (await self._client.read_text_file(self._conversation.id, self._path(name))).content
        except RequestError as exc:
            content = f"I could not read {name}: {exc}\n"
        await self.say(content)

    async def _run(self, command: str) -> None:
        session_id = self._conversation.id
        call_id = f"call-{uuid4().hex[:8]}"
        terminal = await self._client.create_terminal(session_id, "/bin/sh", args=["-c", command])
        await self._update(
            start_tool_call(
                call_id,
                command,
                kind="execute",
                status="in_progress",
                content=[tool_terminal_ref(terminal.terminal_id)],
                raw_input={"command": command},
            )
        )
        try:
            ended = asyncio.ensure_future(self._client.wait_for_terminal_exit(session_id, terminal.terminal_id))
            await self._unless_cancelled(ended)
            output = await self._client.terminal_output(session_id, terminal.terminal_id)
        finally:
            await self._client.release_terminal(session_id, terminal.terminal_id)
        status = "completed" if ended.result().exit_code == 0 else "failed"
        await self._update(update_tool_call(call_id, status=status, raw_output={"output": output.output}))  # type: ignore[arg-type]
        await self.say(output.output)

    async def _ask(self, question: str) -> None:
        call = ToolCallUpdate(tool_call_id=f"call-{uuid4().hex[:8]}", title=question or "May I?", kind="other")
        allowed = await self._allowed(call)
        await self.say("allowed\n" if allowed else "rejected\n")

    async def _slow(self, seconds: str) -> None:
        await self._unless_cancelled(asyncio.ensure_future(asyncio.sleep(float(seconds or 1))))
        await self.say("done\n")

    async def _deaf(self, seconds: str) -> None:
        await asyncio.sleep(float(seconds or 1))

    async def _env(self, name: str) -> None:
        await self.say(f"{name}={os.environ[name]}\n" if name in os.environ else f"{name} is not set\n")

    async def _session(self, _: str) -> None:
        await self.say(f"{self._conversation.id} prompts={self._conversation.prompts} pid={os.getpid()}\n")

    async def _fail(self, text: str) -> None:
        raise RequestError(-32603, text or "this prompt was told to fail")

    async def _crash(self, status: str) -> None:
        code = _whole(status or "1", "crash")
        sys.stderr.write("the demo agent was told to crash\n")
        sys.stderr.flush()
        # What was sent so far is in the pipe already; nothing else gets a chance to tidy up.
        os._exit(code)

    async def _scene(self, text: str) -> None:
        words = " ".join(text.split())[:60] or "nothing"
        await self._think(f"Somebody says: {words}. I will show what I can do.")
        steps = ["Read the prompt", "Answer it", "Ask to write a note about it"]
        for done in (0, 1):
            await self._show_plan(steps, done)
            await self._pause()
        answer = (
            "Hello! I am the demo agent: no model, no account, but real ACP. "
            "You have just seen a thought and a plan, and this text is streamed. "
            "Say `stream 2000`, `slow 5`, `run ls` or `help` to direct me. "
            "Now I will ask whether I may write a note into the workspace, and wait for the answer.\n"
        )
        for word in answer.split(" "):
            await self.say(word if word.endswith("\n") else f"{word} ")
            await self._pause()
        await self._show_plan(steps, 2)
        await self._write(f"demo-note.txt You said: {words}")
        await self._show_plan(steps, 3)

    async def _allowed(self, call: ToolCallUpdate) -> bool:
        conversation = self._conversation
        if conversation.mode == "auto" or conversation.always_allowed:
            return True
        answer = await self._client.request_permission(conversation.id, call, _OPTIONS)
        outcome = answer.outcome
        # A client that cancels the turn cancels its requests too, and either may arrive first.
        if not isinstance(outcome, AllowedOutcome):
            self._check()
            return False
        conversation.always_allowed = outcome.option_id == "always"
        return outcome.option_id in ("allow", "always")

    async def _update(self, update: Any) -> None:
        await self._client.session_update(self._conversation.id, update)

    async def _pause(self) -> None:
        if pause := _SPEEDS[self._conversation.speed]:
            await self._unless_cancelled(asyncio.ensure_future(asyncio.sleep(pause)))
        else:
            self._check()

    async def _unless_cancelled(self, work: "asyncio.Future[Any]") -> None:
        cancelled = asyncio.ensure_future(self._conversation.cancelled.wait())
        try:
            await asyncio.wait([work, cancelled], return_when=asyncio.FIRST_COMPLETED)
        finally:
            cancelled.cancel()
            if not work.done():
                work.cancel()
        self._check()

    def _check(self) -> None:
        if self._conversation.cancelled.is_set():
            raise Cancelled

    def _path(self, name: str) -> str:
        return os.path.join(self._conversation.cwd, name)


def _state(place: int) -> Literal["pending", "in_progress", "completed"]:
    """Of a plan's step, so many behind the one that is under way."""
    return "in_progress" if place == 0 else "completed" if place < 0 else "pending"


def _whole(text: str, directive: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise RequestError(-32602, f"{directive} needs a whole number, not {text!r}")
    return int(text)


def _describe(block: Any) -> str:
    """A content block in a few words."""
    if block.type in ("image", "audio"):
        article = "an image" if block.type == "image" else "a sound"
        return f"I got {article} ({block.mime_type}, {len(base64.b64decode(block.data))} bytes)."
    if block.type == "resource_link":
        return f"I got a link to {block.uri}."
    if block.type == "resource":
        content = str(getattr(block.resource, "text", None) or getattr(block.resource, "blob", ""))
        return f"I got {block.resource.uri} ({len(content)} characters)."
    return f"I got a block of type {block.type}."


def _modes(conversation: Conversation) -> SessionModeState:
    return SessionModeState(
        current_mode_id=conversation.mode,
        available_modes=[
            SessionMode(id=mode_id, name=name, description=description)
            for mode_id, (name, description) in _MODES.items()
        ],
    )


def _options(conversation: Conversation) -> list[Any]:
    return [
        SessionConfigOptionSelect(
            id="speed",
            name="Speed",
            description="The pause between two chunks of an answer",
            type="select",
            current_value=conversation.speed,
            options=[SessionConfigSelectOption(value=value, name=value.capitalize()) for value in _SPEEDS],
        )
    ]


if __name__ == "__main__":
    asyncio.run(run_agent(DemoAgent()))  # type: ignore[arg-type]
