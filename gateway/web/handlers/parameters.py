"""The query parameters and headers of requests."""

from typing import Annotated, Literal

from msgspec import Meta

from gateway.web.apidoc.endpoint import Parameter

DEFAULT_LIMIT, MAX_LIMIT = 50, 200

LIMIT = Parameter(
    name="limit",
    kind=Annotated[int, Meta(ge=1, le=MAX_LIMIT, extra_json_schema={"default": DEFAULT_LIMIT})],
    description="Entries per page.",
)
AFTER = Parameter(name="after", kind=str, description="The `next` of the previous page.")
AFTER_PLACE = Parameter(
    name="after", kind=Annotated[int, Meta(ge=0, le=2**62)], description="The `next` of the previous page."
)
ORDER = Parameter(
    name="order",
    kind=Annotated[Literal["asc", "desc"], Meta(extra_json_schema={"default": "asc"})],
    description="Oldest or newest first.",
)
INCLUDE_ENDED = Parameter(
    name="includeEnded",
    kind=Literal["true", "false", ""],
    description="Whether to include ended sessions. Without a value: true.",
)
FORMAT = Parameter(
    name="format", kind=Literal["jsonl", "markdown"], description="The file's format; else `Accept` decides."
)
DIGEST = Parameter(
    name="digest",
    kind=Annotated[str, Meta(pattern="^[0-9a-f]{32}$")],
    description="Of the value that the message had when its reference was read; with another value it is 404.",
)
FROM = Parameter(
    name="from",
    kind=Annotated[Literal["head", "start"], Meta(extra_json_schema={"default": "head"})],
    description="Where a stream without an event id begins: at the log's end or at its beginning.",
)
LAST_EVENT_ID = Parameter(
    name="lastEventId", kind=str, description="Like the header `Last-Event-ID`, for clients that cannot send it."
)
TICKET = Parameter(name="ticket", kind=str, description="A ticket from `POST …/events/ticket`, for browsers.")

PASSTHROUGH_TICKET_OF = Parameter(
    name="gatewayTicket",
    kind=str,
    description="A ticket from `POST …/events/ticket` for this path, for browsers.",
)
DIRECTORY = Parameter(
    name="directory",
    kind=str,
    description="OpenCode's own parameter: whose directory's events. Only those of the directory where OpenCode was "
    "started are recorded; others are forwarded without ids.",
)
DIRECTORY_HEADER = Parameter(
    name="x-opencode-directory", kind=str, description="The same, percent-encoded.", place="header"
)

LAST_EVENT_ID_HEADER = Parameter(
    name="Last-Event-ID",
    kind=str,
    description="The stream continues after this event. Browsers send it when they reconnect.",
    place="header",
)
IDEMPOTENCY_KEY = Parameter(
    name="Idempotency-Key",
    kind=Annotated[str, Meta(pattern='^("([ !#-\\[\\]-~]|\\\\["\\\\])+"|[!#-+\\--:<-\\[\\]-~]+)$', max_length=600)],
    description="1 to 255 visible ASCII characters, best a random UUID in quotes. A call repeated with the same key "
    "is done once and gets the same response.",
    place="header",
)
PREFER = Parameter(
    name="Prefer",
    kind=Annotated[str, Meta(extra_json_schema={"examples": ["wait=30"]})],
    description="`wait=N`: respond when the turn has ended, or after N seconds (RFC 7240).",
    place="header",
)
