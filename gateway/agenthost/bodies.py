"""The bodies of requests, and how they are read and checked."""

import asyncio
from typing import Any, TypeVar

import attrs
from aiohttp import web

from gateway.agenthost.credentials import Credential
from gateway.agenthost.environment import check_variables
from gateway.errors import BodyTooLarge, InvalidBody, RequestStalled, UnsupportedMediaType
from gateway.wire.codec import DecodeError, decode
from gateway.wire.limits import BODY_SECONDS
from gateway.wire.media import media_type

T = TypeVar("T")

_TEXT = "text"
#: Content blocks that need a capability of the agent (ACP `promptCapabilities`).
_NEEDS = {"image": "image", "audio": "audio", "resource": "embeddedContext"}


@attrs.frozen(kw_only=True)
class SpawnBody:
    env: dict[str, str] | None = attrs.field(default=None, repr=False)
    working_directory: str | None = None
    #: Makes the process its owner's; without it, it is shared by all who send none.
    credential: Credential | None = None


@attrs.frozen(kw_only=True)
class TokenBody:
    token: str = attrs.field(repr=False)
    #: Seconds.
    expires_in: float | None = None


@attrs.frozen(kw_only=True)
class SessionBody:
    agent_id: str
    working_directory: str | None = None
    #: The client's own name for the session, for its list.
    reference: str | None = None
    env: dict[str, str] | None = attrs.field(default=None, repr=False)
    #: Passed on unchanged.
    mcp_servers: list[dict[str, Any]] = attrs.field(factory=list, repr=False)
    credential: Credential | None = None
    #: The mode to begin in, in place of the agent's `start_mode`.
    mode_id: str | None = None


@attrs.frozen(kw_only=True)
class LoadBody:
    """`agentId` and `acpSessionId` are for a session from before this host's start."""

    agent_id: str | None = None
    acp_session_id: str | None = None
    working_directory: str | None = None
    reference: str | None = None
    env: dict[str, str] | None = attrs.field(default=None, repr=False)
    mcp_servers: list[dict[str, Any]] | None = attrs.field(default=None, repr=False)
    credential: Credential | None = None
    #: The mode that it was last in.
    mode_id: str | None = None
    #: Whether the history that the agent replays while it loads becomes events again.
    replay: bool = False


@attrs.frozen(kw_only=True)
class PromptBody:
    #: A text or ACP content blocks.
    prompt: Any = attrs.field(default=None, repr=False)
    #: Some containers read this instead; clients send both.
    text: str | None = attrs.field(default=None, repr=False)
    #: The turn's id, if the client chooses it: a prompt repeated with the same id is run once.
    turn_id: str | None = None

    def blocks(self) -> list[dict[str, Any]]:
        """The prompt as ACP content blocks."""
        prompt = self.text if self.prompt is None else self.prompt
        if isinstance(prompt, str) and prompt:
            return [{"type": _TEXT, _TEXT: prompt}]
        if not isinstance(prompt, list) or not prompt:
            raise InvalidBody("$.prompt: must be a text or a list of content blocks, and not empty")
        for index, block in enumerate(prompt):
            if not isinstance(block, dict) or not isinstance(block.get("type"), str):
                raise InvalidBody(f"$.prompt[{index}]: must be an ACP content block, an object with a type")
            if block["type"] == _TEXT and not isinstance(block.get(_TEXT), str):
                raise InvalidBody(f"$.prompt[{index}].text: must be a string")
        return prompt


@attrs.frozen(kw_only=True)
class PermissionBody:
    option_id: str | None = None
    cancelled: bool | None = None
    granted: bool | None = None


@attrs.frozen(kw_only=True)
class ModeBody:
    mode_id: str


@attrs.frozen(kw_only=True)
class ConfigBody:
    config_id: str
    #: A string or a boolean.
    value: Any


@attrs.frozen(kw_only=True)
class CancelBody:
    #: Cancel only this turn; by default the running one.
    turn_id: str | None = None


@attrs.frozen(kw_only=True)
class NoBody:
    pass


async def read(request: web.Request, cls: type[T]) -> T:
    """The request's body as a value; an empty body means `{}`.

    Raises InvalidBody, BodyTooLarge, RequestStalled or UnsupportedMediaType.
    """
    try:
        async with asyncio.timeout(BODY_SECONDS):
            raw = await request.read()
    except TimeoutError as exc:
        raise RequestStalled(f"the body did not arrive within {BODY_SECONDS:g} seconds") from exc
    except web.HTTPRequestEntityTooLarge as exc:
        raise BodyTooLarge(f"the body is larger than {request.client_max_size} bytes") from exc
    # Pages of other origins cannot send JSON without a preflight, which is never allowed.
    if raw and media_type(request.headers.get("Content-Type")) != "application/json":
        raise UnsupportedMediaType()
    try:
        value = decode(cls, raw or b"{}")
    except DecodeError as exc:
        raise InvalidBody(str(exc)) from exc
    check_variables(getattr(value, "env", None) or {}, "$.env")
    given = value if isinstance(value, Credential) else getattr(value, "credential", None)
    if given is not None:
        given.check("$" if given is value else "$.credential")
    return value


def check_capabilities(blocks: list[dict[str, Any]], offered: dict[str, Any]) -> None:
    """InvalidBody if the agent does not accept a block's type."""
    for index, block in enumerate(blocks):
        needed = _NEEDS.get(block["type"])
        if needed is not None and offered.get(needed) is not True:
            raise InvalidBody(f"$.prompt[{index}]: this agent does not accept {block['type']} blocks")
