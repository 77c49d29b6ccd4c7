"""A provider of accounts that remembers every secret it was given or gave, and repeats them where it had better not."""

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec

from tests.canary.canaries import Canaries
from tests.fakes.provider import FakeProvider

AUDIENCE = "acp-gateway"
#: Members of the gateway's calls that are secret.
_SECRET = ("code", "code_verifier", "client_secret", "device_code", "refresh_token", "token")


class IndiscreetProvider(FakeProvider):
    """Each secret becomes a canary as it goes by."""

    def __init__(self, canaries: Canaries) -> None:
        super().__init__()
        self._canaries = canaries
        self._count = 0
        self._repeats: set[str] = set()
        self._key = ec.generate_private_key(ec.SECP256R1())

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        response = await super()._handle(request)
        for name in _SECRET:
            if value := self.calls[-1].members.get(name):
                self._learn(f"{name} sent to the provider", value)
        return response

    def _tokens(self, refresh: str | None) -> dict[str, Any]:
        told = super()._tokens(refresh)
        for name in ("access_token", "refresh_token"):
            if name in told:
                self._learn(f"{name} of the provider", told[name])
        return told

    def sign(self, name: str, **claims: Any) -> str:
        """A JWT of this provider's, for somebody who has signed in there."""
        now = int(time.time())
        said = {"iss": self.url, "aud": AUDIENCE, "sub": "ann", "exp": now + 600, "iat": now, **claims}
        token = jwt.encode(said, self._key, algorithm="ES256", headers={"kid": "one"})
        # What signs it is the secret; who reads the rest knows a name and a time.
        self._canaries.add(name, token.rpartition(".")[2])
        return token

    def _learn(self, name: str, value: str) -> None:
        self._count += 1
        self._canaries.add(f"{name} ({self._count})", value)

    def repeat_what_it_is_sent(self, endpoint: str) -> None:
        """The next answer there is an error that quotes the whole call."""
        self._repeats.add(endpoint)

    def _right(self, endpoint: str, members: dict[str, Any]) -> web.Response:
        if endpoint == "elsewhere":
            key = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(self._key.public_key()))
            return web.json_response({"keys": [{**key, "kid": "one", "use": "sig"}]})
        if endpoint not in self._repeats:
            return super()._right(endpoint, members)
        self._repeats.discard(endpoint)
        told = {"error": "invalid_grant", "error_description": f"not with {members}", "error_uri": str(members)}
        return web.json_response(told, status=400)


@contextmanager
def running_provider(canaries: Canaries) -> Iterator[IndiscreetProvider]:
    """In a thread of its own, for tests that wait without a loop."""
    provider = IndiscreetProvider(canaries)
    started, loop = threading.Event(), asyncio.new_event_loop()
    stopped = asyncio.Event()

    async def serve() -> None:
        async with provider:
            started.set()
            await stopped.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    assert started.wait(10)
    try:
        yield provider
    finally:
        loop.call_soon_threadsafe(stopped.set)
        thread.join(10)
        loop.close()
