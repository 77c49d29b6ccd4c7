"""A real OpenCode whose agent host was killed remembers what was said, and nothing of that is told twice."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.agenthost.app import build_app as build_agent_host
from gateway.server.run import bind, serving
from tests.fakes.model import FakeModel
from tests.opencode.doors import GatewayDoor, TurnEnd
from tests.opencode.places import gateway, host_configuration, register
from tests.opencode.world import World

COMPLETED = TurnEnd(outcome="completed", stop_reason="end_turn")


@asynccontextmanager
async def host_on(port: int, program: Path, world: World, model: FakeModel) -> AsyncIterator[int]:
    sock = bind("127.0.0.1", port, purpose="the test's agent host", option="")
    app = build_agent_host(host_configuration(program, world, model))
    async with serving(app, sock, shutdown_timeout=1):
        yield sock.getsockname()[1]


@pytest.mark.timeout(180)
async def test_a_session_goes_on_in_an_agent_host_that_starts_anew(
    opencode_program: Path, database_url: str, tmp_path: Path
) -> None:
    world = World.create(tmp_path / "world")
    async with FakeModel() as model, gateway(database_url) as http:
        async with host_on(0, opencode_program, world, model) as port:
            project = await register(http, containerUrl="http://127.0.0.1:4096", acpUrl=f"http://127.0.0.1:{port}")
            async with GatewayDoor(http, project) as door:
                session = await door.create_session()
                turn = await door.prompt(session, "say remembered\nbash echo kept\nsay closing")
                asked = await door.asked(session)
                await door.answer(asked, asked.option("allow_once"))
                assert await door.end(turn) == COMPLETED
        async with host_on(port, opencode_program, world, model), GatewayDoor(http, project) as door:
            assert await door.run(session, "say again") == COMPLETED
            (restored,) = [event["data"] for event in door.of(session, "session_restored")]
            assert (restored["how"], restored["reason"], restored["forgotten"]) == ("load", "container_restarted", [])
            assert door.text(session) == "rememberedclosingagain"
            kinds = [update["sessionUpdate"] for update in door.updates(session)]
            assert kinds.count("tool_call") == 1
            assert "user_message_chunk" not in kinds
            last = model.turns()[-1]
            assert last.texts("user") == ["say remembered\nbash echo kept\nsay closing", "say again"]
            assert [text.strip() for text in last.texts("tool")] == ["kept"]
            assert await door.roles(session) == [
                *("user", "assistant", "tool", "permission_request", "permission_resolved", "assistant"),
                *("gap", "session_restored", "user", "assistant"),
            ]
