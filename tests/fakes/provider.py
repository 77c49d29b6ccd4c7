"""A provider of accounts that does what the test says: an OAuth server, small and as wrong as is wanted.

It is right unless told otherwise. ``answers`` are scripts for its endpoints, each used once, in order; where one is
used up, the endpoint is as it should be again. Every call is kept with its form or JSON.
"""

import asyncio
import json
import secrets
from base64 import urlsafe_b64encode
from collections import defaultdict
from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import Any, Self
from urllib.parse import parse_qsl, urlencode

import attrs
from aiohttp import web

from tests.fakes.listening import listen


@attrs.frozen(kw_only=True)
class Call:
    """What the gateway has sent."""

    endpoint: str
    members: dict[str, Any]
    headers: dict[str, str]


@attrs.frozen
class Answer:
    """What an endpoint answers once. ``body`` is sent as JSON unless it is bytes."""

    body: Any = b""
    status: int = 200
    headers: dict[str, str] = attrs.field(factory=dict)
    content_type: str = "application/json"


class Hang:
    """No answer at all, until the provider closes."""


class Carried:
    """The call is carried out, and the connection broken before its answer."""


class Broken:
    """Half an answer, and then nothing."""


Script = Answer | Hang | Carried | Broken | Callable[[dict[str, Any]], Awaitable[Any]]


class FakeProvider:
    """A provider on a port of its own: ``async with``."""

    def __init__(self) -> None:
        self.answers: dict[str, list[Script]] = defaultdict(list)
        self.calls: list[Call] = []
        self.client_id = "client-1"
        self.expires_in: Any = 3600
        self.rotates = True
        self.scope: str | None = None
        #: What is added to each token answer; a value of None takes a member away.
        self.members: dict[str, Any] = {}
        self._codes: dict[str, dict[str, str]] = {}
        #: Each grant's living refresh token, and whether the grant lives.
        self.grants: dict[str, str] = {}
        self.revoked: set[str] = set()
        self._used: dict[str, str] = {}
        self.devices: dict[str, str] = {}
        self._closing = asyncio.Event()
        self._runner: web.AppRunner | None = None
        self.url = ""

    async def __aenter__(self) -> Self:
        app = web.Application()
        for endpoint in ("token", "device", "revoke", "usercode", "devicetoken"):
            app.router.add_route("*", f"/{endpoint}", self._handle)
        app.router.add_get("/.well-known/openid-configuration", self._handle_metadata)
        app.router.add_route("*", "/elsewhere", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await self._runner.setup()
        self.url = f"http://127.0.0.1:{(await listen(self._runner)).port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._closing.set()
        if self._runner is not None:
            await self._runner.cleanup()

    def table(self, **changes: Any) -> dict[str, Any]:
        """This provider as an operator writes it."""
        return {
            "client_id": self.client_id,
            "agents": ["demo", "claude-code"],
            "name": "Example",
            "flows": ["pkce", "device"],
            "scopes": ["read", "write"],
            "discover": False,
            "authorize_url": f"{self.url}/authorize",
            "token_url": f"{self.url}/token",
            "device_url": f"{self.url}/device",
            "revoke_url": f"{self.url}/revoke",
            "issuer": self.url,
            **changes,
        }

    def log_in(self, authorize_url: str, **changes: str | None) -> str:
        """What a browser comes back with once its person has logged in and agreed: the address of the callback."""
        asked = dict(parse_qsl(authorize_url.partition("?")[2]))
        code = f"code-{secrets.token_hex(8)}"
        self._codes[code] = asked
        told = {"code": code, "state": asked["state"], "iss": self.url} | changes
        return (
            f"{asked['redirect_uri']}?{urlencode({name: value for name, value in told.items() if value is not None})}"
        )

    def approve(self, user_code: str | None = None) -> None:
        """The person enters the code of a device login, and agrees."""
        for code, state in self.devices.items():
            if state == "pending" and user_code in (None, code[:8]):
                self.devices[code] = "approved"

    def granted(self, **members: Any) -> dict[str, Any]:
        """A new grant's tokens."""
        grant = secrets.token_hex(8)
        refresh = self.grants[grant] = f"refresh-{secrets.token_hex(8)}"
        return self._tokens(refresh) | members

    def calls_of(self, endpoint: str, **members: Any) -> list[Call]:
        found = [call for call in self.calls if call.endpoint == endpoint]
        return [call for call in found if members.items() <= call.members.items()]

    async def _handle_metadata(self, request: web.Request) -> web.StreamResponse:
        if self.answers["metadata"]:
            return await self._scripted(request, self.answers["metadata"].pop(0), {})
        return web.json_response(
            {
                "issuer": self.url,
                "authorization_endpoint": f"{self.url}/authorize",
                "token_endpoint": f"{self.url}/token",
                "device_authorization_endpoint": f"{self.url}/device",
                "revocation_endpoint": f"{self.url}/revoke",
                "authorization_response_iss_parameter_supported": True,
            }
        )

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        endpoint = request.path.strip("/")
        raw = await request.read()
        is_json = request.content_type == "application/json"
        members = json.loads(raw or b"{}") if is_json else dict(parse_qsl(raw.decode()))
        self.calls.append(Call(endpoint=endpoint, members=members, headers=dict(request.headers)))
        scripts = self.answers[endpoint]
        if scripts:
            return await self._scripted(request, scripts.pop(0), members)
        return self._right(endpoint, members)

    async def _scripted(self, request: web.Request, script: Script, members: dict[str, Any]) -> web.StreamResponse:
        match script:
            case Answer():
                body = script.body if isinstance(script.body, bytes) else json.dumps(script.body).encode()
                return web.Response(
                    status=script.status, body=body, content_type=script.content_type, headers=script.headers
                )
            case Hang():
                await self._closing.wait()
            case Carried():
                self._right(request.path.strip("/"), members)
            case Broken():
                response = web.StreamResponse(headers={"Content-Length": "100"})
                await response.prepare(request)
                await response.write(b'{"access_')
            case _:
                return await self._scripted(request, Answer(await script(members)), members)
        assert request.transport is not None
        request.transport.close()
        return web.Response()

    def _right(self, endpoint: str, members: dict[str, Any]) -> web.Response:
        match endpoint, members.get("grant_type"):
            case "token", "authorization_code":
                return self._exchange(members)
            case "token", "refresh_token":
                return self._refresh(members["refresh_token"])
            case "token", _:
                return self._device_token(members)
            case "device", _:
                code = f"{secrets.token_hex(4).upper()}-{secrets.token_hex(8)}"
                self.devices[code] = "pending"
                told = {"device_code": code, "user_code": code[:8], "verification_uri": f"{self.url}/enter"}
                return web.json_response(told | {"expires_in": 600, "interval": 1})
            case "revoke", _:
                self._revoke(str(members.get("token", members.get("access_token", ""))))
                return web.Response()
            case _:
                return web.json_response({"error": "not_found"}, status=404)

    def _exchange(self, members: dict[str, Any]) -> web.Response:
        asked = self._codes.pop(members.get("code", ""), None)
        challenge = urlsafe_b64encode(sha256(members.get("code_verifier", "").encode()).digest()).rstrip(b"=").decode()
        if asked is None or asked["code_challenge"] != challenge or asked["redirect_uri"] != members["redirect_uri"]:
            return _refusal("invalid_grant")
        return web.json_response(self.granted())

    def _refresh(self, token: str) -> web.Response:
        grant = next((grant for grant, living in self.grants.items() if living == token), None)
        if grant is None:
            # A token that comes a second time is taken for stolen, and all of its grant ends.
            self.grants.pop(self._used.get(token, ""), None)
            return _refusal("invalid_grant")
        if self.rotates:
            self._used[token] = grant
            self.grants[grant] = f"refresh-{secrets.token_hex(8)}"
            return web.json_response(self._tokens(self.grants[grant]))
        return web.json_response(self._tokens(None))

    def _device_token(self, members: dict[str, Any]) -> web.Response:
        match self.devices.get(members.get("device_code", "")):
            case "pending":
                return _refusal("authorization_pending")
            case "approved":
                self.devices[members["device_code"]] = "used"
                return web.json_response(self.granted())
            case _:
                return _refusal("invalid_grant")

    def _revoke(self, token: str) -> None:
        self.revoked.add(token)
        self.grants = {grant: living for grant, living in self.grants.items() if living != token}

    def _tokens(self, refresh: str | None) -> dict[str, Any]:
        told = {
            "access_token": f"access-{secrets.token_hex(8)}",
            "token_type": "Bearer",
            "expires_in": self.expires_in,
            "refresh_token": refresh,
            "scope": self.scope,
        } | self.members
        return {name: value for name, value in told.items() if value is not None}


def _refusal(error: str) -> web.Response:
    return web.json_response({"error": error}, status=400)
