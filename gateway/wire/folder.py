"""Folds a session's events into messages. Pure: events in, messages out."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from typing import get_args

from gateway.wire.codec import members_of, raw_members
from gateway.wire.events import Event, Gap, HistoryFilled, SessionCleared, TerminalStarted, TurnEnded, TurnStarted
from gateway.wire.messages import DRAFT_BYTES, MAX_TEXT, Draft, EventMessageType, Message, MessageRole, items
from gateway.wire.updates import (
    TERMINALS,
    TEXT_ROLES,
    TOOL_KINDS,
    Update,
    begins_call,
    changes_of,
    gap_name,
    message_id_of,
    role_in_gap,
    short_text,
    terminal_id_of,
    tool_call_id_of,
)

_EVENTS = frozenset(get_args(EventMessageType)) - {"session_update"}
#: Kinds of update that tell a session's state, which the newest of them is.
_STATES = frozenset(("available_commands_update", "config_option_update", "session_info_update", "usage_update"))
#: Of the resumed text; resumed plans are named by their turns.
_TEXT = "\0text"


class Folder:
    """Folds a session's events, in order, into messages.

    ``known`` are stored messages that these events may change, of tool calls, terminals and gaps; ``resumed`` a text
    and plans that they go on with.
    """

    def __init__(self, known: Iterable[Message] = (), resumed: Iterable[Message] = ()) -> None:
        self._drafts: list[Draft] = []
        self._resumed = {_name_of(message): message for message in resumed}
        self._text: Draft | None = None
        #: Tool calls, terminals and gaps.
        self._named: dict[str, Draft] = {}
        self._plans: dict[str | None, Draft] = {}
        self._known: dict[str, Message] = {}
        #: Approximate memory of the messages.
        self.size = 0
        self._folds: Mapping[str, Callable[[Event, Update], None]] = {
            **dict.fromkeys(TEXT_ROLES, self._fold_text),
            **dict.fromkeys(TOOL_KINDS, self._fold_tool_call),
            "plan": self._fold_plan,
        }
        self.learn(known)

    def add(self, event: Event, update: Update) -> None:
        """Add the session's next event and its update.

        Kinds without a message are skipped, and so are events of the whole project other than gaps.
        """
        if event.session_id is None and event.type != Gap.type:
            return
        if event.type in (TurnStarted.type, TurnEnded.type):
            self._text = None
            self._resumed.pop(_TEXT, None)
            for turn_id in (None, event.turn_id):
                self._plans.pop(turn_id, None)
                self._resumed.pop(turn_id, None)
        if event.type == SessionCleared.type:
            self._forget()
            self._known.clear()
            self._resumed.clear()
            self.size = 0
        kind = short_text(update.get("sessionUpdate"))
        if event.type == TurnStarted.type:
            self._fold_prompt(event)
        elif event.type in TERMINALS:
            self._fold_terminal(event, update)
        elif event.type == HistoryFilled.type:
            self._fold_filled(event, update)
        elif fold := self._folds.get(kind or ""):
            fold(event, update)
        elif (kind is not None and kind not in _STATES) or _is_told(event):
            draft = self._begin(event, "event")
            draft.size = len(event.data)
            self.size += draft.size
            if event.type == Gap.type:
                draft.tool_call_id = gap_name(event)
                self._named[draft.tool_call_id] = draft

    @property
    def tool_calls(self) -> set[str]:
        """The ids of the tool calls, terminals and gaps whose messages are known here."""
        return self._named.keys() | self._known.keys()

    def learn(self, known: Iterable[Message]) -> None:
        """Add stored messages that the next events may change."""
        self._known.update({message.tool_call_id: message for message in known if message.tool_call_id is not None})

    @property
    def open(self) -> set[int]:
        """Where the messages begin that a text or a plan of the next events goes on with."""
        drafts = [*self._plans.values(), *([] if self._text is None else [self._text])]
        return {draft.first.seq for draft in drafts} | {one.first_seq for one in self._resumed.values()}

    def successor(self, messages: Iterable[Message], open: Set[int]) -> "Folder":
        """A folder for the next events: ``messages`` are this one's, and ``open`` was so before they were taken."""
        return Folder(resumed=[one for one in (*self._resumed.values(), *messages) if one.first_seq in open])

    def messages(self) -> Iterator[Message]:
        """All messages so far, oldest first. Each is removed when it is yielded, so that none is in memory twice."""
        drafts = sorted(self._drafts, key=lambda draft: draft.first.seq, reverse=True)
        self._forget()
        while drafts:
            yield drafts.pop().to_message()

    def _forget(self) -> None:
        for one in (self._drafts, self._named, self._plans):
            one.clear()
        self._text = None

    def _fold_prompt(self, event: Event) -> None:
        members = members_of(event.data)
        draft = self._begin(event, "user")
        author = members.get("startedBy", b"")
        draft.author = author if author.startswith(b'"') else None
        for block in items(members.get("prompt", b"")):
            draft.add(block)
        self.size += draft.size

    def _fold_text(self, event: Event, update: Update) -> None:
        role = TEXT_ROLES[short_text(update["sessionUpdate"]) or ""]
        if role == "user" and event.turn_id is not None:
            return  # the agent echoes the prompt, which stands in turn_started already
        message_id = message_id_of(update)
        text = self._text or self._resumed_draft(_TEXT, event)
        if (
            text is None
            or (text.role, text.message_id, text.first.turn_id) != (role, message_id, event.turn_id)
            or text.size >= MAX_TEXT
        ):
            text = self._begin(event, role)
            text.message_id = message_id
        self._text = text
        before = text.size
        text.add(update.get("content", b""))
        text.last = event
        self.size += text.size - before

    def _fold_tool_call(self, event: Event, update: Update) -> None:
        draft = self._with_name(event, tool_call_id_of(update), "tool", begins=begins_call(update))
        before = draft.size
        draft.change(changes_of(update))
        self.size += draft.size - before

    def _fold_filled(self, event: Event, update: Update) -> None:
        """What a gap lost stands in it; the end of a call that had begun before, in the call."""
        if role_in_gap(update) is None:
            if short_text(update.get("sessionUpdate")) in TOOL_KINDS:
                self._fold_tool_call(event, update)
            return
        name = gap_name(event)
        known = self._named.get(name)
        draft = known or self._reopened(event, name)
        if draft is None:
            return  # it has been cleared away with its place
        if draft is not known:
            self._drafts.append(draft)
            self.size += DRAFT_BYTES + draft.size
            self._named[name] = draft
        before = draft.size
        draft.fill(event, update)
        draft.last = event
        self.size += draft.size - before

    def _fold_terminal(self, event: Event, said: Update) -> None:
        begins = event.type == TerminalStarted.type
        draft = self._with_name(event, terminal_id_of(said), "terminal", begins=begins)
        before = draft.size
        draft.members.setdefault("terminalId", said.get("terminalId", b"null"))
        draft.hear(event, said)
        self.size += draft.size - before

    def _with_name(self, event: Event, name: str, role: MessageRole, *, begins: bool) -> Draft:
        """The message that the event changes: the newest of its name, or another one if the event ``begins`` one."""
        known = self._named.get(name)
        draft = known or self._reopened(event, name)
        if draft is None or (begins and draft.is_closed_to(event)):
            draft = self._begin(event, role)
            draft.tool_call_id = name
        elif draft is not known:
            self._drafts.append(draft)
            self.size += DRAFT_BYTES + draft.size
        self._named[name] = draft
        draft.last = event
        return draft

    def _fold_plan(self, event: Event, update: Update) -> None:
        draft = self._plans.get(event.turn_id) or self._resumed_draft(event.turn_id, event)
        if draft is None:
            draft = self._begin(event, "plan")
        self._plans[event.turn_id] = draft
        entries = update.get("entries", b"")
        self.size -= len(draft.entries)
        draft.entries = entries if entries.startswith(b"[") else b"[]"
        self.size += len(draft.entries)
        draft.last = event

    def _begin(self, event: Event, role: MessageRole) -> Draft:
        self._text = None
        self._resumed.pop(_TEXT, None)
        draft = Draft(first=event, last=event, role=role)
        self._drafts.append(draft)
        self.size += DRAFT_BYTES
        return draft

    def _resumed_draft(self, name: str | None, event: Event) -> Draft | None:
        known = self._resumed.pop(name, None)
        if known is None or not raw_members(known.body):
            return None
        draft = Draft.of(known, event)
        self._drafts.append(draft)
        self.size += DRAFT_BYTES + draft.size
        return draft

    def _reopened(self, event: Event, name: str) -> Draft | None:
        known = self._known.pop(name, None)
        # It began earlier: new text follows, as if all had been folded at once.
        return None if known is None else Draft.of(known, event)


def _name_of(resumed: Message) -> str | None:
    return resumed.turn_id if resumed.role == "plan" else _TEXT


def _is_told(event: Event) -> bool:
    """Whether an event is a message."""
    is_completed = event.type == TurnEnded.type and members_of(event.data).get("outcome") == b'"completed"'
    return event.type in _EVENTS and not is_completed
