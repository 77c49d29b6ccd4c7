"""A turn as a value: a prompt until its end."""

from datetime import datetime
from typing import Any, Literal

import attrs

from gateway.db.pool import Row
from gateway.wire.codec import parse_foreign_json
from gateway.wire.events import Cursor

TurnState = Literal["queued", "running", "completed", "cancelled", "failed", "stalled", "lost"]


@attrs.frozen(kw_only=True)
class Turn:
    """A turn as the database has it; all times are by the database's clock."""

    id: str
    project_id: str
    session_id: str
    user_id: str
    #: Queued, running, or its outcome.
    state: TurnState
    #: The place in the log just before its first event.
    cursor: Cursor
    #: A queued turn's ACP content blocks; once it runs, the log has them.
    prompt: Any = attrs.field(repr=False)
    #: The gateway that sends the prompt and waits for its answer.
    gateway_id: str | None
    #: The container's boot and session that were given the prompt.
    container_boot_id: str | None
    container_session_id: str | None
    queued_at: datetime | None
    started_at: datetime | None
    #: From here on the prompt may have reached the container.
    sent_at: datetime | None
    #: The container took the prompt, and tells the turn's end by an event.
    delivered_at: datetime | None
    #: From here on nobody waits for the prompt's answer.
    unanswered_since: datetime | None
    #: When the session's newest event was seen to be a new one, and that event's number.
    said_at: datetime | None
    said_seq: int | None
    cancel_requested_at: datetime | None
    #: The container was asked to cancel the turn.
    cancel_sent_at: datetime | None
    agent_stopped_at: datetime | None
    ended_at: datetime | None
    stop_reason: str | None
    failure: str | None
    message: str | None

    @classmethod
    def from_row(cls, row: Row) -> "Turn":
        """``row``: a turn with its log's ``epoch``."""
        values = {field.name: row[field.name] for field in attrs.fields(cls) if field.name != "cursor"}
        prompt = None if row["prompt"] is None else parse_foreign_json(row["prompt"])
        return cls(**values | {"prompt": prompt, "cursor": Cursor(row["epoch"], row["before_seq"] or 0)})

    @property
    def is_open(self) -> bool:
        """Whether its end is still to come."""
        return self.state in ("queued", "running")

    @property
    def is_cancelling(self) -> bool:
        """Whether somebody wants it to stop: a person, or the gateway itself."""
        return self.cancel_requested_at is not None or self.cancel_sent_at is not None
