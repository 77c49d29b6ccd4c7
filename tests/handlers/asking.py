"""A container whose agent asks for permission, and answers to it."""

from typing import Any

from aiohttp import web

from tests.fakes.container import ContainerError, FakeContainer
from tests.world import EventStream, Project, data_of

OPTIONS = [{"optionId": "yes", "name": "Yes", "kind": "allow_once"}]


class AskingContainer(FakeContainer):
    """Asks for permission, and settles a request with its first answer; its events have no ids."""

    def __init__(self) -> None:
        super().__init__()
        self.boot_id: str | None = None
        #: Request → its outcome, as a second answer is told it.
        self.settled: dict[str, Any] = {}
        #: Answers are refused with 500.
        self.failing = False
        #: The next answer is taken, and its taker hears nothing of it.
        self.deaf_once = False
        #: The outcome is told to the streams, and is heard there, before the answer's taker hears of it.
        self.hears_first: EventStream | None = None

    async def info(self, request: web.Request) -> Any:
        boot = {"bootId": self.boot_id} if self.boot_id else {}
        return {**(await super().info(request)), "capabilities": ["permissions"], **boot}

    def ask(self, session_id: str | None = None, **members: Any) -> None:
        known = session_id or next(iter(self.sessions))
        asked = {"toolCall": {"toolCallId": "t"}, "options": OPTIONS, **members}
        self.emit("permission_request", asked, session_id=known)

    async def permission(self, request: web.Request) -> Any:
        request_id = request.match_info["permission_id"]
        if self.failing:
            raise ContainerError("not now")
        if request_id in self.settled:
            data = {"id": request_id, "outcome": self.settled[request_id]}
            return web.json_response({"success": False, "error": "settled", "data": data}, status=409)
        body = await request.json()
        chosen = {"outcome": "selected", "optionId": body["optionId"]} if "optionId" in body else None
        self.settled[request_id] = chosen or {"outcome": "cancelled"}
        if self.hears_first is not None:
            told = {"requestId": request_id, "outcome": self.settled[request_id]}
            self.emit("permission_resolved", told, session_id=next(iter(self.sessions)))
            await self.hears_first.until("permission_resolved")
        if self.deaf_once:
            self.deaf_once = False
            assert request.transport is not None
            request.transport.abort()
        return {"id": request_id}


async def requested(stream: EventStream) -> Any:
    return data_of((await stream.until("permission_request"))[-1])


async def answer(project: Project, request: Any, **body: Any) -> Any:
    return await project.call("POST", f"/permission/{request['permissionId']}", body)


async def state(project: Project, request: Any) -> tuple[str, str | None, str | None]:
    shown = (await project.call("GET", f"/permission/{request['permissionId']}")).json
    return shown["state"], shown["optionId"], shown["resolvedBy"]
