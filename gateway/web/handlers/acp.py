"""ACP's content blocks and MCP servers in bodies: required members are checked, all else passes unchanged.

https://agentclientprotocol.com/protocol/schema
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final

from msgspec import Meta

from gateway.errors import InvalidBody

_WORDS: Final[Mapping[type, str]] = {str: "a string", dict: "an object", list: "a list"}
#: Content blocks by type, with their required members.
_BLOCKS: Final[Mapping[str, Mapping[str, type]]] = {
    "text": {"text": str},
    "image": {"data": str, "mimeType": str},
    "audio": {"data": str, "mimeType": str},
    "resource_link": {"uri": str, "name": str},
    "resource": {"resource": dict},
}
#: MCP servers by type, with their required members; without a type it is "stdio".
_SERVERS: Final[Mapping[str, Mapping[str, type]]] = {
    "stdio": {"name": str, "command": str},
    "http": {"name": str, "url": str},
    "sse": {"name": str, "url": str},
}
_LISTS: Final[Mapping[str, bool]] = {"args": False, "env": True, "headers": True}
_NAMES: Final[Mapping[type, str]] = {str: "string", dict: "object", list: "array"}


def _schema(kind: str, members: Mapping[str, type], *, named: bool = True) -> dict[str, Any]:
    """The JSON Schema of one type."""
    properties: dict[str, Any] = {name: {"type": _NAMES[of]} for name, of in members.items()}
    required = list(members)
    if named:
        properties, required = {"type": {"const": kind}, **properties}, ["type", *required]
    return {"type": "object", "properties": properties, "required": required}


def _resource() -> dict[str, Any]:
    schema = _schema("resource", {})
    embedded = {"type": "object", "properties": {"uri": {"type": "string"}}, "required": ["uri"]}
    return {**schema, "properties": {**schema["properties"], "resource": embedded}, "required": ["type", "resource"]}


_BLOCK_SCHEMAS = [_schema(kind, members) for kind, members in _BLOCKS.items() if kind != "resource"] + [_resource()]
_PAIRS = {"type": "array", "items": _schema("", {"name": str, "value": str}, named=False)}
_MORE = {"args": {"type": "array", "items": {"type": "string"}}, "env": _PAIRS, "headers": _PAIRS}

Prompt = Annotated[
    Any,
    Meta(
        description="Text, or ACP content blocks.",
        extra_json_schema={
            "anyOf": [
                {"type": "string", "minLength": 1},
                {"type": "array", "minItems": 1, "items": {"anyOf": _BLOCK_SCHEMAS}},
            ]
        },
    ),
]
McpServer = Annotated[
    Any,
    Meta(
        description="An MCP server as in ACP: a program (stdio), or an address (http, sse).",
        extra_json_schema={
            "type": "object",
            "properties": {"name": {"type": "string"}, **_MORE},
            "anyOf": [
                {
                    "properties": {"type": {"const": "stdio"}, "command": {"type": "string"}},
                    "required": ["name", "command"],
                },
                *(_schema(kind, _SERVERS[kind]) for kind in ("http", "sse")),
            ],
        },
    ),
]


def blocks_of(given: Any) -> list[dict[str, Any]]:
    """Text or content blocks as content blocks."""
    if isinstance(given, str):
        given = [{"type": "text", "text": given}]
    if not isinstance(given, list):
        raise InvalidBody("$.prompt: must be a string or a list of content blocks")
    if not given or given == [{"type": "text", "text": ""}]:
        raise InvalidBody("$.prompt: must not be empty")
    for index, block in enumerate(given):
        _check_block(block, f"$.prompt[{index}]")
    return given


def _check_block(block: Any, place: str) -> None:
    _check_object(block, place)
    kind = block.get("type")
    if not isinstance(kind, str) or kind not in _BLOCKS:
        raise InvalidBody(f"{place}.type: must be one of {', '.join(_BLOCKS)}")
    _check_members(block, _BLOCKS[kind], place)
    if kind == "resource":
        _check_members(block["resource"], {"uri": str}, f"{place}.resource")


def check_mcp_server(server: Any, place: str) -> None:
    _check_object(server, place)
    kind = server.get("type", "stdio")
    if not isinstance(kind, str) or kind not in _SERVERS:
        raise InvalidBody(f"{place}.type: must be one of {', '.join(_SERVERS)}; the default is stdio")
    _check_members(server, _SERVERS[kind], place)
    for name, holds_pairs in _LISTS.items():
        if name in server:
            _check_members(server, {name: list}, place)
            for index, entry in enumerate(server[name]):
                _check_entry(entry, f"{place}.{name}[{index}]", holds_pairs=holds_pairs)


def _check_entry(entry: Any, place: str, *, holds_pairs: bool) -> None:
    """An entry of ``env`` or ``headers`` (name and value) or of ``args`` (a string)."""
    if holds_pairs:
        _check_object(entry, place)
        _check_members(entry, {"name": str, "value": str}, place)
    elif not isinstance(entry, str):
        raise InvalidBody(f"{place}: must be a string")


def _check_object(value: Any, place: str) -> None:
    if not isinstance(value, dict):
        raise InvalidBody(f"{place}: must be an object")


def _check_members(value: dict[str, Any], members: Mapping[str, type], place: str) -> None:
    for name, kind in members.items():
        if not isinstance(value.get(name), kind):
            raise InvalidBody(f"{place}.{name}: must be {_WORDS[kind]}")
