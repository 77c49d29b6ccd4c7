"""Pages of history are bounded in bytes; what is large in a message is read by reference."""

import base64
import json
import os
import random
import time
from typing import Any

import pytest

from gateway.log.folding import AHEAD_BYTES
from gateway.wire.limits import PAGE_BYTES
from tests.db.things import ask
from tests.fakes.eventually import eventually, until
from tests.story.conftest import Session
from tests.world import Answer, Gateway

SVG = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>" + b" " * 70_000


def shot(number: int, mime_type: str, data: bytes) -> list[Any]:
    picture = {"type": "image", "mimeType": mime_type, "data": base64.b64encode(data).decode()}
    call = {"toolCallId": f"shot-{number}", "title": "Screenshot", "status": "completed"}
    return ["update", {"sessionUpdate": "tool_call", **call, "content": [{"type": "content", "content": picture}]}]


async def read(session: Session, path: str) -> Answer:
    answer = await session.project.call("GET", f"/session/{session.id}{path}")
    assert answer.status == 200, answer.body
    return answer


async def pages_of(session: Session, query: str = "limit=200") -> list[Answer]:
    pages = [await read(session, f"/messages?{query}")]
    while (place := pages[-1].json["next"]) is not None:
        pages.append(await read(session, f"/messages?{query}&after={place}"))
    return pages


async def content_of(session: Session, reference: Any, **headers: str) -> Answer:
    return await session.project.gateway.call("GET", reference["url"], headers=headers)


async def test_a_page_of_large_pictures_is_small_and_the_pictures_are_read_by_reference(session: Session) -> None:
    pictures = [random.randbytes(700_000) for _ in range(3)]
    for number, picture in enumerate(pictures):
        await session.events_of(shot(number, "image/png", picture))
    snapshot = await read(session, "/snapshot")
    [page] = await pages_of(session)
    assert snapshot.json["messages"] == page.json["messages"]
    calls = [message for message in page.json["messages"] if message["role"] == "tool"]
    assert len(json.dumps(calls)) < 5_000
    assert [call["toolCall"]["content"][0]["content"]["data"] for call in calls] == ["", "", ""]
    for call, picture in zip(calls, pictures, strict=True):
        [reference] = call["references"]
        assert (reference["path"], reference["mediaType"], reference["size"]) == (
            "/toolCall/content/0/content/data",
            "image/png",
            len(picture),
        )
        place = f"{session.project.acp}/session/{session.id}/messages/{call['id']}/content/0?digest="
        assert reference["url"].startswith(place)
        answer = await content_of(session, reference)
        assert (answer.status, answer.body, answer.headers["Content-Type"]) == (200, picture, "image/png")
    exported = [json.loads(line) for line in (await read(session, "/export?format=jsonl")).body.splitlines()]
    whole = [one["toolCall"]["content"][0]["content"]["data"] for one in exported if one["role"] == "tool"]
    assert whole == [base64.b64encode(picture).decode() for picture in pictures]


async def test_pages_of_many_medium_messages_end_at_their_bytes_and_leave_nothing_out(session: Session) -> None:
    """Each of them is too small to be left to a reference."""
    outputs = [os.urandom(30_000).hex() for _ in range(150)]
    for start in range(0, 150, 15):
        calls = [
            {"toolCallId": f"c{number}", "status": "completed", "rawOutput": out}
            for number, out in enumerate(outputs[start : start + 15], start)
        ]
        await session.events_of(*(["update", {"sessionUpdate": "tool_call", **call}] for call in calls))
    for order in ("asc", "desc"):
        pages = await pages_of(session, f"limit=200&order={order}")
        assert len(pages) > 2
        assert all(len(page.body) <= PAGE_BYTES + 100_000 for page in pages)
        found = [one for page in pages for one in page.json["messages"] if one["role"] == "tool"]
        told = [one["toolCall"]["rawOutput"] for one in found]
        assert told == (outputs if order == "asc" else outputs[::-1])
    assert len((await read(session, "/snapshot?limit=200")).body) <= PAGE_BYTES + 100_000


async def test_content_may_be_cached_until_the_message_says_something_else(session: Session) -> None:
    call = {"sessionUpdate": "tool_call", "toolCallId": "c", "status": "in_progress", "rawOutput": "first " * 20_000}
    later = {"sessionUpdate": "tool_call_update", "toolCallId": "c", "rawOutput": "second " * 20_000}
    await session.events_of(["update", call])
    [message] = [one for one in (await pages_of(session))[0].json["messages"] if one["role"] == "tool"]
    [reference] = message["references"]
    assert message["toolCall"]["rawOutput"] == ("first " * 20_000)[:4096]
    first = await content_of(session, reference)
    assert (first.body.decode(), first.headers["Content-Type"]) == ("first " * 20_000, "text/plain; charset=utf-8")
    assert first.headers["Cache-Control"] == "private, max-age=31536000, immutable"
    assert "Authorization" in first.headers["Vary"]
    unnamed = {**reference, "url": reference["url"].partition("?")[0]}
    known = await content_of(session, unnamed, **{"If-None-Match": first.headers["ETag"]})
    assert (known.status, known.body, known.headers["Cache-Control"]) == (304, b"", "private, no-cache")
    await session.events_of(["update", later])
    gone = await content_of(session, reference)
    assert (gone.status, gone.json["code"]) == (404, "content_not_found")
    assert (await content_of(session, unnamed)).body.decode() == "second " * 20_000


@pytest.mark.parametrize("mime_type", ["image/svg+xml", "text/html", "application/xhtml+xml", "text/plain\r\nX-A: b"])
async def test_what_could_run_in_a_browser_is_a_download_of_bytes(session: Session, mime_type: str) -> None:
    await session.events_of(shot(0, mime_type, SVG))
    [message] = [one for one in (await pages_of(session))[0].json["messages"] if one["role"] == "tool"]
    answer = await content_of(session, message["references"][0])
    assert (answer.status, answer.body) == (200, SVG)
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["Content-Disposition"] == "attachment"
    assert answer.headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'; sandbox"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"


async def test_content_is_looked_up_with_its_message_its_session_and_its_project(
    session: Session, gateway: Gateway, scripted_url: str
) -> None:
    await session.events_of(shot(0, "image/png", SVG))
    [message] = [one for one in (await pages_of(session))[0].json["messages"] if one["role"] == "tool"]
    url = message["references"][0]["url"]
    other = await session.project.create_session(agentId="scripted")
    for wrong in (
        url.replace("/content/0", "/content/1"),
        url.replace("/content/0", "/content/x"),
        url.replace(f"/messages/{message['id']}/", "/messages/1/"),
        url.replace(f"/messages/{message['id']}/", f"/messages/{'9' * 30}/"),
        url.replace(session.id, other),
        url.replace("/demo/", "/other/"),
    ):
        assert wrong != url
        assert (await gateway.call("GET", wrong)).status == 404, wrong


async def test_reading_a_running_turn_whose_output_grows_takes_no_longer_for_all_that_it_has_said(
    session: Session, database_url: str
) -> None:
    """Its tool tells its whole output with each line: 40 MB of events for 400 KB."""
    say = ["grow", 1, 16], ["say", "beginning, ", 1], ["grow", 200, 400_000], ["say", "end", 1], ["until-cancel"]
    await session.project.prompt(session.id, json.dumps(say), wait=None)
    unwritten = (
        "select coalesce(sum(octet_length(payload)), 0) from events e join agent_sessions s on s.id = e.session_id"
        " where e.seq > s.folded_to and e.log = 'acp'"
    )

    async def messages() -> list[Any]:
        found: list[Any] = (await read(session, "/messages")).json["messages"]
        return found

    async def has_said_all() -> bool:
        return (await messages())[-1].get("content") == [{"type": "text", "text": "beginning, end"}]

    await until(has_said_all, within=90)
    await eventually(lambda: ask(database_url, unwritten)[0][0] <= 2 * AHEAD_BYTES)
    took = []
    for path in ("/messages", "/snapshot") * 5:
        began = time.perf_counter()
        await read(session, path)
        took.append(time.perf_counter() - began)
    assert min(took) < 0.1
    prompt, call, said = await messages()
    assert call["references"][0]["size"] == 400_000
    snapshot = (await read(session, "/snapshot")).json
    assert (snapshot["messages"], snapshot["turn"] is not None) == ([prompt, call, said], True)
    await session.project.call("POST", f"/session/{session.id}/cancel", {})
