"""The query parameters and headers that requests may have."""

from typing import Annotated, Literal

from msgspec import Meta

from gateway.web.apidoc.endpoint import Parameter

DEFAULT_LIMIT, MAX_LIMIT = 50, 200

LIMIT = Parameter(
    name="limit",
    kind=Annotated[int, Meta(ge=1, le=MAX_LIMIT, extra_json_schema={"default": DEFAULT_LIMIT})],
    description="How many entries a page holds.",
)
AFTER = Parameter(name="after", kind=str, description="The `next` of the page before; else the first page.")
AFTER_MESSAGE = Parameter(
    name="after", kind=Annotated[int, Meta(ge=0, le=2**62)], description="The `next` of the page before."
)
ORDER = Parameter(
    name="order",
    kind=Annotated[Literal["asc", "desc"], Meta(extra_json_schema={"default": "asc"})],
    description="Oldest or newest first.",
)
INCLUDE_ENDED = Parameter(
    name="includeEnded",
    kind=Literal["true", "false", ""],
    description="Whether sessions that have ended are listed, too. Without a value: true.",
)
FORMAT = Parameter(
    name="format", kind=Literal["jsonl", "markdown"], description="The form of the file; else as `Accept` says."
)
FROM = Parameter(
    name="from",
    kind=Annotated[Literal["head", "start"], Meta(extra_json_schema={"default": "head"})],
    description="Where a stream begins that names no event: at the log's end, or at its beginning.",
)
LAST_EVENT_ID = Parameter(
    name="lastEventId", kind=str, description="The same as the header `Last-Event-ID`, for clients that cannot send it."
)
TICKET = Parameter(
    name="ticket", kind=str, description="What `POST …/events/ticket` gave; for browsers, which can send no header."
)

PASSTHROUGH_TICKET_OF = Parameter(
    name="gatewayTicket",
    kind=str,
    description="What `POST …/events/ticket` gave for the path; for browsers, which can send no header.",
)
DIRECTORY = Parameter(
    name="directory",
    kind=str,
    description="OpenCode's own: of which directory the events are. Those of the one where OpenCode was started are "
    "recorded; those of any other pass as they come, without ids.",
)
DIRECTORY_HEADER = Parameter(
    name="x-opencode-directory", kind=str, description="The same, percent-encoded.", place="header"
)

LAST_EVENT_ID_HEADER = Parameter(
    name="Last-Event-ID",
    kind=str,
    description="The stream goes on right after this event. Browsers send it by themselves when they come back.",
    place="header",
)
IDEMPOTENCY_KEY = Parameter(
    name="Idempotency-Key",
    kind=Annotated[str, Meta(pattern='^("([ !#-\\[\\]-~]|\\\\["\\\\])+"|[!#-+\\--:<-\\[\\]-~]+)$', max_length=600)],
    description="1 to 255 visible ASCII characters, best a random UUID in quotes. A call that is sent again with the "
    "same key is done once, and answered as it was the first time.",
    place="header",
)
PREFER = Parameter(
    name="Prefer",
    kind=Annotated[str, Meta(extra_json_schema={"examples": ["wait=30"]})],
    description="`wait=N`: answer when the turn is over, or after N seconds (RFC 7240).",
    place="header",
)
