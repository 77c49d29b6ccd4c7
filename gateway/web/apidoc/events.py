"""The events of streams as schemas: one from each of the gateway's classes, one sentence for each container event."""

from collections.abc import Iterator, Mapping
from typing import Final

from gateway.web.apidoc.schema import Schema, Schemas
from gateway.wire.events import EventData
from gateway.wire.opencode import EVENT_STREAMS, EventStream

#: Events of containers that are passed on unchanged (``session_restored``, which the gateway emits too, is a class).
FROM_CONTAINERS: Final[Mapping[str, str]] = {
    "session_update": "ACP's `session/update` notification, unchanged.",
    "agent_status": "An agent started, stopped or failed, as its container reports.",
    "auth_required": "An agent needs a connected account, as its container reports.",
    "auth_complete": "Somebody has connected an account, as the container reports.",
}
#: The schemas of the events of OpenCode's streams, by the stream's name.
OPENCODE_ITEMS: Final[Mapping[str, str]] = {
    "opencode": "OpenCodeEvent",
    "opencode_global": "OpenCodeGlobalEvent",
    "opencode_api": "OpenCodeApiEvent",
}
_MEMBERS: Final[Mapping[str, str]] = {
    "sessionId": "The session; absent if the event concerns the whole project.",
    "turnId": "The turn.",
    "agentId": "The agent.",
}


def add_events(schemas: Schemas) -> None:
    """One schema for each type, and ``Event``, which is any of them."""
    names = {**dict(_own(schemas)), **dict(_foreign(schemas))}
    references = {type: f"#/components/schemas/{name}" for type, name in names.items()}
    schemas.named["Event"] = {
        "description": "The JSON in `data` of an event of a stream.",
        "oneOf": [{"$ref": reference} for reference in references.values()],
        "discriminator": {"propertyName": "type", "mapping": references},
    }


def add_opencode_events(schemas: Schemas) -> None:
    """OpenCode's own events, and the gateway's in the same form."""
    for stream in EVENT_STREAMS.values():
        schemas.named[OPENCODE_ITEMS[stream.name]] = _of_opencode(stream)


def _of_opencode(stream: EventStream) -> Schema:
    description = (
        "An event of OpenCode, unchanged. In a recorded stream `gateway.gap` means that events may be missing between "
        "`from` and `to`, and `gateway.reset` that the client's cursor cannot be continued."
    )
    event: Schema = {
        "type": "object",
        "properties": {
            "id": {"type": "string"},
            "type": {"type": "string", "examples": ["message.part.updated", "server.connected", "gateway.gap"]},
            stream.content: {"type": "object"},
        },
        # OpenCode also has events without the content, of type `sync`.
        "required": ["type"] if stream.wrapper else ["type", stream.content],
    }
    if stream.wrapper:
        event = {"type": "object", "properties": {stream.wrapper: event}, "required": [stream.wrapper]}
    return {**event, "description": description}


def own_types() -> dict[str, type[EventData]]:
    return {cls.type: cls for cls in EventData.__subclasses__()}


def _own(schemas: Schemas) -> Iterator[tuple[str, str]]:
    for type, cls in own_types().items():
        data = schemas.of(cls)
        name = f"{cls.__name__}Event"
        schemas.named[name] = _envelope(type, schemas.named[cls.__name__]["description"], data)
        yield type, name


def _foreign(schemas: Schemas) -> Iterator[tuple[str, str]]:
    for type, sentence in FROM_CONTAINERS.items():
        name = "".join(part.capitalize() for part in type.split("_")) + "Event"
        schemas.named[name] = _envelope(type, sentence, {"description": sentence})
        yield type, name


def _envelope(type: str, sentence: str, data: Schema) -> Schema:
    properties: Schema = {"type": {"const": type}}
    properties |= {name: {"type": "string", "description": text} for name, text in _MEMBERS.items()}
    properties |= {"at": {"type": "string", "format": "date-time"}, "data": data}
    return {
        "type": "object",
        "description": sentence,
        "properties": properties,
        "required": ["type", "at", "data"],
    }
