"""A real ``opencode acp``, driven through the agent host alone and through the whole gateway.

OpenCode is started once for each door: its start takes seconds, its turns do not. Every test has a session of its own.
"""

import base64

import psutil
import pytest

from tests.fakes.eventually import eventually
from tests.opencode.doors import PATIENCE, TurnEnd
from tests.opencode.places import Place

pytestmark = pytest.mark.asyncio(loop_scope="module")

COMPLETED = TurnEnd(outcome="completed", stop_reason="end_turn")
CANCELLED = TurnEnd(outcome="cancelled", stop_reason="cancelled")
PNG = base64.b64encode(
    base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")
).decode()


def tool_statuses(place: Place, session_id: str) -> list[str]:
    return [update["status"] for update in place.door.updates(session_id) if "toolCallId" in update]


async def test_two_thousand_chunks_arrive_whole_and_in_order(place):
    session = await place.door.create_session()
    assert await place.door.run(session, "stream 2000") == COMPLETED
    assert place.door.chunks(session) == [f"tok{n} " for n in range(2000)]


async def test_allowed_command_runs_after_the_answer_and_not_before(place):
    session = await place.door.create_session()
    turn = await place.door.prompt(session, "bash echo hi > hello.txt\nsay closing")
    asked = await place.door.asked(session)
    assert not (place.workspace / "hello.txt").exists()
    assert await place.door.answer(asked, asked.option("allow_once")) == 200
    assert await place.door.end(turn) == COMPLETED
    assert (place.workspace / "hello.txt").read_text() == "hi\n"
    assert place.door.text(session) == "closing"
    assert tool_statuses(place, session)[-1] == "completed"


async def test_allowed_edit_is_on_disk_and_shows_its_diff(place):
    path = place.workspace / "edited.txt"
    path.write_text("before\n")
    session = await place.door.create_session()
    turn = await place.door.prompt(session, f"edit {path} before after")
    asked = await place.door.asked(session)
    await place.door.answer(asked, asked.option("allow_once"))
    assert await place.door.end(turn) == COMPLETED
    assert path.read_text() == "after\n"
    contents = [content for update in place.door.updates(session) for content in update.get("content") or ()]
    assert {"type": "diff", "path": str(path), "oldText": "before", "newText": "after"} in contents


async def test_refused_command_does_not_run(place):
    session = await place.door.create_session()
    turn = await place.door.prompt(session, "bash touch refused.txt")
    asked = await place.door.asked(session)
    await place.door.answer(asked, asked.option("reject_once"))
    assert (await place.door.end(turn)).outcome == "completed"
    assert tool_statuses(place, session)[-1] == "failed"
    assert not (place.workspace / "refused.txt").exists()


async def test_second_answer_to_a_permission_is_a_conflict(place):
    session = await place.door.create_session()
    turn = await place.door.prompt(session, "bash touch twice.txt")
    asked = await place.door.asked(session)
    assert await place.door.answer(asked, asked.option("reject_once")) == 200
    assert await place.door.answer(asked, asked.option("allow_once")) == 409
    await place.door.end(turn)
    assert not (place.workspace / "twice.txt").exists()


async def test_cancel_ends_the_turn_and_the_session_goes_on(place):
    session = await place.door.create_session()
    abandoned = place.model.abandoned
    turn = await place.door.prompt(session, "say before\nhold\nsay after")
    await eventually(lambda: place.door.text(session) == "before", within=PATIENCE)
    await place.door.cancel(session)
    assert await place.door.end(turn) == CANCELLED
    await eventually(lambda: place.model.abandoned == abandoned + 1)
    assert await place.door.run(session, "say again") == COMPLETED
    assert place.door.text(session) == "beforeagain"


async def test_cancel_settles_what_was_asked_as_refused(place):
    session = await place.door.create_session()
    turn = await place.door.prompt(session, "bash touch cancelled.txt")
    asked = await place.door.asked(session)
    await place.door.cancel(session)
    assert (await place.door.end(turn)).outcome == "cancelled"
    # The agent host has settled it; the gateway says that nobody waits for it any more.
    assert await place.door.answer(asked, asked.option("allow_once")) in (409, 410)
    assert not (place.workspace / "cancelled.txt").exists()


async def test_image_reaches_the_model(place):
    session = await place.door.create_session()
    image = {"type": "image", "mimeType": "image/png", "data": PNG}
    assert await place.door.run(session, [{"type": "text", "text": "say seen"}, image]) == COMPLETED
    assert place.model.turns()[-1].image_urls() == [f"data:image/png;base64,{PNG}"]


async def test_two_sessions_at_once_do_not_mix(place):
    first, second = await place.door.create_session(), await place.door.create_session()
    turns = [
        await place.door.prompt(first, "say one\nhold\nstream 300"),
        await place.door.prompt(second, "say two\nhold\nbash echo from the second"),
    ]
    # Both are in the middle of their turns now, and go on together.
    await eventually(lambda: place.model.holding == 2, within=PATIENCE)
    place.model.release()
    asked = await place.door.asked(second)
    await place.door.answer(asked, asked.option("allow_once"))
    assert [await place.door.end(turn) for turn in turns] == [COMPLETED, COMPLETED]
    assert place.door.text(first) == "one" + "".join(f"tok{n} " for n in range(300))
    assert place.door.text(second) == "twoDone."
    assert tool_statuses(place, first) == []


async def test_refusing_provider_fails_the_turn_and_the_session_goes_on(place):
    session = await place.door.create_session()
    assert (await place.door.run(session, "error 401")).outcome == "failed"
    assert await place.door.run(session, "say recovered") == COMPLETED


async def test_agent_killed_in_a_turn_fails_it_and_the_next_prompt_works(place):
    session = await place.door.create_session()
    turn = await place.door.prompt(session, "say before\nhold")
    await eventually(lambda: place.door.text(session) == "before", within=PATIENCE)
    for process in place.agents():
        process.kill()
    assert (await place.door.end(turn)).outcome == "failed"
    assert await place.door.run(session, "say alive") == COMPLETED
    assert place.door.text(session) == "beforealive"


async def test_no_agent_outlives_its_host(place):
    await place.door.run(await place.door.create_session(), "say there")
    running = place.agents()
    assert running
    await place.stop_agents()
    await eventually(lambda: not any(_lives(process) for process in running))


def _lives(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
