"""A provider of models that takes no key: it answers 401 to whatever it is asked, and remembers with what.

    async with RefusingProvider() as provider:
        …  # provider.url; provider.requests

It speaks no provider's language beyond that: agents of all providers understand a 401.
"""

from typing import Self

import attrs
from aiohttp import web

from tests.fakes.listening import listen

WORDS = "Incorrect API key provided"
ANSWER = {"error": {"type": "authentication_error", "message": WORDS, "code": 401, "status": "UNAUTHENTICATED"}}


@attrs.frozen(kw_only=True)
class Asked:
    """A request as it arrived; header names in lower case."""

    method: str
    path: str
    headers: dict[str, str]


class RefusingProvider:
    """One server and what it was asked."""

    def __init__(self) -> None:
        self.requests: list[Asked] = []
        self._runner: web.AppRunner | None = None
        self._port = 0

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_route("*", "/{path:.*}", self._refuse)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        self._port = (await listen(self._runner)).port
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def asked(self, path: str) -> list[Asked]:
        """The requests for paths that begin so."""
        return [one for one in self.requests if one.path.startswith(path)]

    async def _refuse(self, request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.requests.append(Asked(method=request.method, path=request.path, headers=headers))
        await request.read()
        return web.json_response(ANSWER, status=401)
