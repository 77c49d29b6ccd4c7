"""A turn as it runs, in a terminal."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from acp_session_gateway_client import ClientError, Project, Refused, StreamEvent

from gateway.cli.terminal.asked import call_title, lines_of
from gateway.cli.terminal.asking import ask
from gateway.cli.terminal.lists import answer_words
from gateway.cli.terminal.screen import Screen
from gateway.cli.terminal.showing import away_notes

FAILED, CANCELLED = 3, 130
_MARKS: Final = {"pending": "○", "in_progress": "◐", "completed": "●", "failed": "✗", "cancelled": "✗"}


class Turn:
    """Shows one turn, and answers its permission requests."""

    def __init__(self, screen: Screen, project: Project, session_id: str, turn_id: str, *, grants: bool | None) -> None:
        """``grants``: the answer to all permission requests; None: ask."""
        self._screen = screen
        self._project = project
        self._session_id = session_id
        self._id = turn_id
        self._grants = grants
        self._asking: dict[str, asyncio.Task[None]] = {}
        self._titles: dict[str, str] = {}
        self._statuses: dict[str, str] = {}
        self._options: dict[str, Any] = {}
        self._plan: set[str] = set()
        #: The current message; a new one begins when it changes.
        self._part: object = None
        #: The gap that is being filled from the agent's history.
        self._filled: int | None = None
        self._cancels = 0
        self._stopping: asyncio.Task[None] | None = None

    async def show(self, cursor: str, *, as_json: bool) -> int:
        """Show the turn until it ends; returns the exit status."""
        events = self._project.events(self._session_id, after=cursor, on_away=away_notes(self._screen))
        with self._on_interrupt():
            try:
                async for event in events:
                    if as_json:
                        self._screen.json({"id": str(event.cursor), **event.envelope})
                    else:
                        self._show(event)
                    self._react(event)
                    if event.type == "reset":
                        return await self._end_by_asking()
                    if event.type == "turn_ended" and event.turn_id == self._id:
                        return self._ended(event.data, event.agent_id, as_json=as_json)
            finally:
                for task in (*self._asking.values(), *filter(None, [self._stopping])):
                    task.cancel()
                    with suppress(asyncio.CancelledError, ClientError):
                        await task
        raise AssertionError("not reached: the events do not end")

    @contextmanager
    def _on_interrupt(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._interrupted)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)

    def _interrupted(self) -> None:
        self._cancels += 1
        if self._cancels > 1:
            self._screen.note("The turn may still run; its session is " + self._session_id, "red")
            raise SystemExit(CANCELLED)
        self._screen.note("cancelling the turn; Ctrl-C again leaves it alone", "yellow")
        self._stopping = asyncio.create_task(self._cancel(), name="cancel turn")

    async def _cancel(self) -> None:
        try:
            await self._project.cancel(self._session_id, self._id)
        except ClientError as exc:
            self._screen.note(f"It could not be cancelled: {exc}", "red")

    def _react(self, event: StreamEvent) -> None:
        if event.turn_id not in (self._id, None):
            return
        if event.type == "permission_request" and event.data.get("resolvedBy") is None:
            self._begin_answer(event.data)
        elif event.type == "permission_resolved":
            task = self._asking.pop(event.data["permissionId"], None)
            if task is not None:
                task.cancel()

    def _begin_answer(self, data: Any) -> None:
        permission_id, tool_call = data["permissionId"], data["toolCall"]
        self._options[permission_id] = data["options"]
        if self._grants is not None:
            work = self._answer(permission_id, self._grants)
        elif self._screen.can_ask:
            work = ask(self._screen, self._project, permission_id, tool_call, data["options"])
        else:
            for line in lines_of(tool_call):
                self._screen.note(f"  {line}", "dim")
            command = f"acp-gateway permission answer {self._project.id} {permission_id} --allow"
            self._screen.note(f"the agent waits for an answer: {command} (or --deny)", "yellow")
            return
        self._asking[permission_id] = asyncio.create_task(work, name=f"answer {permission_id}")

    async def _answer(self, permission_id: str, granted: bool) -> None:
        try:
            await self._project.answer(permission_id, granted=granted)
        except Refused as exc:
            self._screen.note(str(exc), "red")

    def _show(self, event: StreamEvent) -> None:
        if event.turn_id not in (self._id, None):
            return
        match event.type:
            case "session_update" if isinstance(event.data, dict) and isinstance(event.data.get("update"), dict):
                self._update(event.data["update"])
            case "permission_request" if event.data.get("resolvedBy") == "container":
                title = call_title(event.data["toolCall"]) or "something without a title"
                self._screen.note(f"allowed by the container itself: {title}", "yellow")
            case "permission_resolved":
                options = self._options.pop(event.data["permissionId"], None)
                self._screen.note(f"answered: {answer_words(event.data, options)}", "yellow")
            case "terminal_started":
                command = " ".join([event.data["command"], *event.data.get("args", ())])
                self._screen.note(f"$ {command}", "dim")
            case "file_written":
                self._screen.note(f"wrote {event.data['path']} ({event.data['size']} bytes)", "dim")
            case "turn_queued":
                self._screen.note("waits for the turns before it", "dim")
            case "session_restored":
                self._screen.note(f"the session was taken up again ({event.data['how']})", "dim")
            case "gap":
                self._screen.note(f"something is missing here: {event.data['reason']}", "red")
            case "history_filled":
                if self._filled != event.data["gap"]:
                    self._filled = event.data["gap"]
                    self._screen.note("what was missing, from the agent's own history:", "dim")
                self._update(event.data["update"])
            case "turn_stalling" | "agent_stopping":
                self._screen.note(event.type.replace("_", " "), "red")

    def _update(self, update: dict[str, Any]) -> None:
        content = update.get("content")
        text = content.get("text") if isinstance(content, dict) else None
        match kind := update.get("sessionUpdate"):
            case "agent_message_chunk" if isinstance(text, str):
                self._begin((kind, update.get("messageId")))
                self._screen.answer(text)
            case "agent_thought_chunk" if isinstance(text, str):
                self._begin((kind, update.get("messageId")))
                self._screen.thought(text)
            case "tool_call" | "tool_call_update":
                self._tool(update)
            case "plan" if isinstance(update.get("entries"), list):
                self._show_plan(update["entries"])

    def _begin(self, part: object) -> None:
        """Begin a message where the session's history would, and not for updates of an earlier one."""
        if part != self._part:
            self._part = part
            self._screen.end_message()

    def _show_plan(self, entries: list[Any]) -> None:
        """An agent sends its whole plan each time; show what is new."""
        if not self._plan:
            self._begin("plan")
        plan = [
            f"  {_MARKS.get(str(entry.get('status')), '○')} {entry.get('content')}"
            for entry in entries
            if isinstance(entry, dict)
        ]
        for line in plan:
            if line not in self._plan:
                self._screen.note(line, "cyan")
        self._plan = set(plan)

    def _tool(self, update: dict[str, Any]) -> None:
        """A line at the start of a tool call and for each new status."""
        key = str(update.get("toolCallId"))
        if update.get("sessionUpdate") == "tool_call" and self._statuses.get(key) in ("completed", "failed"):
            # Another call with the same id.
            del self._statuses[key], self._titles[key]
        if key not in self._statuses:
            self._begin(("tool", key))
        self._titles[key] = str(update.get("title") or self._titles.get(key) or key)
        status = str(update.get("status") or self._statuses.get(key) or "pending")
        if self._statuses.get(key) != status:
            self._statuses[key] = status
            style = {"completed": "green", "failed": "red"}.get(status, "cyan")
            self._screen.note(f"{_MARKS.get(status, '○')} {self._titles[key]} ({status.replace('_', ' ')})", style)

    def _ended(self, data: Any, agent_id: str | None, *, as_json: bool) -> int:
        self._screen.end_message()
        outcome = data["outcome"]
        if outcome == "completed":
            return 0
        if not as_json:
            why = data.get("message") or data.get("failure") or data.get("stopReason") or ""
            self._screen.note(f"the turn ended as {outcome}" + (f": {why}" if why else ""), "red")
            if data.get("failure") == "auth_required" and agent_id:
                self._screen.note(f"Connect your account: acp-gateway auth login {self._project.id} {agent_id}")
        return CANCELLED if outcome == "cancelled" else FAILED

    async def _end_by_asking(self) -> int:
        """After a reset, poll for the turn's end; the history has what was missed."""
        while True:
            found = await self._project.call("GET", f"/session/{self._session_id}/turns/{self._id}")
            if found["endedAt"]:
                return self._ended({**found, "outcome": found["state"]}, None, as_json=False)
            await asyncio.sleep(1)
