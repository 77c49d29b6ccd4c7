"""Projects that move to another container."""

import asyncio
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.injection.withdrawals import Withdrawal, Withdrawals
from tests.sessions.injecting import (
    Hosts,
)
from tests.world import Answer, Project


def hosts(directory: Path, name: str) -> Hosts:
    (directory / name).mkdir()
    return Hosts(directory / name)


class Gate:
    """Holds the requests of one kind in front of a container until they may go on."""

    def __init__(self, method: str, path: str) -> None:
        self._kind = (method, path)
        self.is_closed = False
        self.waiting = 0
        self.open = asyncio.Event()
        #: All that was answered.
        self.answered: list[str] = []

    async def __call__(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if self.is_closed and (request.method, request.path) == self._kind:
            self.waiting += 1
            await self.open.wait()
        response = await handler(request)
        self.answered.append(f"{request.method} {request.path}")
        return response


def gate(hosts: Hosts, method: str, path: str) -> Gate:
    made = Gate(method, path)

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        return await made(request, handler)

    hosts.middlewares.append(middleware)
    return made


async def move(project: Project, url: str) -> Answer:
    answer = await project.gateway.as_user("ann").call("PATCH", project.path, {"acpUrl": url})
    assert answer.status == 200, answer.body
    return answer


def hold_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """No credential is taken back from a container until the test ends."""

    async def nothing(self: Withdrawals, withdrawal: Withdrawal) -> None:
        return None

    monkeypatch.setattr(Withdrawals, "_try", nothing)
