"""What the agent can do in a turn: send updates to the client, and call its methods."""

import os
from collections.abc import Callable
from typing import Any

from gateway.agenthost.demo.conversation import SPEEDS, Conversation
from gateway.agenthost.demo.rpc import Connection, RpcError

_OPTIONS = [
    {"optionId": "allow", "name": "Allow once", "kind": "allow_once"},
    {"optionId": "always", "name": "Always allow", "kind": "allow_always"},
    {"optionId": "reject", "name": "Reject", "kind": "reject_once"},
]


class Cancelled(Exception):
    """The client has cancelled the turn."""


class Turn:
    """One prompt at work."""

    def __init__(self, client: Connection, conversation: Conversation) -> None:
        self._client = client
        self.conversation = conversation
        self._said: list[str] = []

    @property
    def said(self) -> str:
        return "".join(self._said)

    def say(self, text: str) -> None:
        self._check()
        self._said.append(text)
        self._update(chunk("agent_message_chunk", text))

    def think(self, text: str) -> None:
        self._update(chunk("agent_thought_chunk", text))

    def show_plan(self, names: list[str], done: int) -> None:
        """A plan with ``done`` completed steps, and the next one in progress."""
        states = ["completed"] * done + ["in_progress"] + ["pending"] * len(names)
        entries = [
            {"content": name, "priority": "medium", "status": state} for name, state in zip(names, states, strict=False)
        ]
        self._update({"sessionUpdate": "plan", "entries": entries})

    def pause(self) -> None:
        """The session's pause between two chunks."""
        self.wait(SPEEDS[self.conversation.speed])

    def wait(self, seconds: float) -> None:
        """Sleep; raises Cancelled as soon as the client cancels."""
        if self.conversation.cancelled.wait(seconds):
            raise Cancelled

    def read(self, name: str) -> str:
        """A file's content, or RpcError."""
        return str(self._request("fs/read_text_file", {"path": self._path(name)})["content"])

    def edit(self, name: str, text: str, *, ask: bool) -> None:
        """Write a file as a tool call with a diff, and say how it went."""
        path = self._path(name)
        try:
            old = self.read(name)
        except RpcError:
            old = None
        diff = {"type": "diff", "path": path, "newText": text + "\n"}
        if old is not None:
            diff["oldText"] = old
        call: dict[str, Any] = {"toolCallId": _call_id(), "title": f"Write {name}", "kind": "edit", "status": "pending"}
        call |= {"content": [diff], "locations": [{"path": path}]}
        self._update({"sessionUpdate": "tool_call", **call, "rawInput": {"path": path}})
        if ask and not self._is_allowed(call):
            self._progress(call, "failed")
            self.say(f"I did not write {name}.\n")
            return
        self._progress(call, "in_progress")
        try:
            self._request("fs/write_text_file", {"path": path, "content": text + "\n"})
        except RpcError as exc:
            self._progress(call, "failed", content=[{"type": "content", "content": _text_block(str(exc))}])
            self.say(f"I could not write {name}: {exc}\n")
            return
        self._progress(call, "completed", content=[diff])
        self.say(f"I wrote {name}.\n")

    def run(self, command: str) -> None:
        """Run a shell command in the client's terminal as a tool call, and say its output."""
        terminal = self._request("terminal/create", {"command": "/bin/sh", "args": ["-c", command]})
        of_terminal = {"terminalId": terminal["terminalId"]}
        call = {"toolCallId": _call_id(), "title": command, "kind": "execute", "status": "in_progress"}
        content = [{"type": "terminal", **of_terminal}]
        self._update({"sessionUpdate": "tool_call", **call, "content": content, "rawInput": {"command": command}})
        try:
            ended = self._request("terminal/wait_for_exit", of_terminal, until=self.conversation.cancelled.is_set)
            self._check()
            output = self._request("terminal/output", of_terminal)["output"]
        finally:
            self._request("terminal/release", of_terminal)
        status = "completed" if ended.get("exitCode") == 0 else "failed"
        self._progress(call, status, rawOutput={"output": output})
        self.say(output)

    def ask(self, question: str) -> bool:
        """Whether the client allows what the question asks."""
        return self._is_allowed({"toolCallId": _call_id(), "title": question, "kind": "other"})

    def _is_allowed(self, call: dict[str, Any]) -> bool:
        """Whether the client allows this tool call; it is not asked again after "always"."""
        conversation = self.conversation
        if conversation.mode == "auto" or conversation.always_allowed:
            return True
        answer = self._request("session/request_permission", {"toolCall": call, "options": _OPTIONS})
        chosen = answer["outcome"].get("optionId")
        # Cancelling a turn cancels its requests, too, and either may arrive first.
        if chosen is None:
            self._check()
        conversation.always_allowed = chosen == "always"
        return chosen in ("allow", "always")

    def _progress(self, call: dict[str, Any], status: str, **members: Any) -> None:
        update = {"sessionUpdate": "tool_call_update", "toolCallId": call["toolCallId"]}
        self._update({**update, "status": status, **members})

    def _update(self, update: dict[str, Any]) -> None:
        self._client.notify("session/update", {"sessionId": self.conversation.id, "update": update})

    def _request(self, method: str, params: dict[str, Any], *, until: Callable[[], bool] = lambda: False) -> Any:
        return self._client.request(method, {"sessionId": self.conversation.id, **params}, until=until)

    def _check(self) -> None:
        if self.conversation.cancelled.is_set():
            raise Cancelled

    def _path(self, name: str) -> str:
        return os.path.join(self.conversation.cwd, name)


def chunk(kind: str, text: str) -> dict[str, Any]:
    """A `session/update` that carries text."""
    return {"sessionUpdate": kind, "content": _text_block(text)}


def _text_block(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _call_id() -> str:
    return f"call-{os.urandom(4).hex()}"
