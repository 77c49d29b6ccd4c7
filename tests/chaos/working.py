"""A chaos container whose agents work: they take prompts, ask for permission, and remember who told them what."""

import asyncio
import json
from collections import Counter
from typing import Any

from aiohttp import web

from tests.chaos.container import CAPABILITIES, ChaosContainer


class WorkingContainer(ChaosContainer):
    """``knows_turns``: a prompt that it is sent again under the same turn's id it does not run again."""

    def __init__(self, *, knows_turns: bool = False) -> None:
        super().__init__(heartbeat=0.5)
        self.knows_turns = knows_turns
        #: How often each prompt was begun, by its text.
        self.begun: Counter[str] = Counter()
        #: How often each permission request was answered, and with what at last.
        self.answers: Counter[str] = Counter()
        self.chosen: dict[str, Any] = {}
        #: While it is not set, no prompt is answered; ``arrived``: one is here.
        self.answering = asyncio.Event()
        self.answering.set()
        self.arrived = asyncio.Event()
        self._turns: set[str] = set()

    def ask(self, request_id: str) -> None:
        """An agent asks for permission."""
        options = [{"optionId": "yes", "name": "Yes", "kind": "allow_once"}]
        options += [{"optionId": "no", "name": "No", "kind": "reject_once"}]
        self._say(b"permission_request", {"requestId": request_id, "toolCall": {"toolCallId": "t"}, "options": options})

    def _say(self, type: bytes, data: Any) -> None:
        self._journal.append(self._frame(json.dumps(data).encode(), type))
        self._wake()

    def _application(self) -> web.Application:
        app = web.Application()
        app.router.add_post("/session/{id}/prompt", self._prompt)
        app.router.add_post("/permission/{id}", self._permission)
        for resource in super()._application().router.resources():
            for route in resource:
                app.router.add_route(route.method, resource.canonical, route.handler)
        return app

    async def _info(self, _: web.Request) -> web.Response:
        capabilities = [*CAPABILITIES, "permissions", *(["turn-ids"] if self.knows_turns else [])]
        data = {"name": "chaos", "version": "1", "workingDirectory": "/", "runningAgents": 1}
        return _envelope(data | {"capabilities": capabilities, "bootId": self._boot})

    async def _prompt(self, request: web.Request) -> web.Response:
        body = await request.json()
        turn_id = body["turnId"]
        text = body["prompt"] if isinstance(body["prompt"], str) else body["prompt"][0]["text"]
        if not (self.knows_turns and turn_id in self._turns):
            self.begun[text] += 1
            self._turns.add(turn_id)
            self._say(b"session_end_turn", {"turnId": turn_id, "stopReason": "end_turn"})
        self.arrived.set()
        await self.answering.wait()
        return _envelope({"id": request.match_info["id"], "turnId": turn_id})

    async def _permission(self, request: web.Request) -> web.Response:
        request_id = request.match_info["id"]
        self.answers[request_id] += 1
        self.chosen[request_id] = (await request.json()).get("optionId")
        return _envelope({"id": request_id})


def _envelope(data: Any) -> web.Response:
    return web.json_response({"success": True, "data": data})
