"""Large contents of messages: pictures that are read as they come into view, and texts that are read on demand."""

import base64
import json
import random
import struct
import zlib
from typing import Any

from playwright.async_api import Request, expect

from tests.console.browsing import Console
from tests.console.saying import update
from tests.world import Project

SIDE = 200


def png(seed: int) -> str:
    """A picture of noise, about 120 KB, in base64."""
    noise = random.Random(seed).randbytes(SIDE * (SIDE * 3))
    rows = b"".join(b"\0" + noise[start : start + SIDE * 3] for start in range(0, len(noise), SIDE * 3))
    parts = [
        (b"IHDR", struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    ]
    image = b"\x89PNG\r\n\x1a\n"
    for name, data in parts:
        image += struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    return base64.b64encode(image).decode()


def call(number: int, **members: Any) -> list[Any]:
    told = {"toolCallId": f"call-{number}", "title": f"call {number}", "status": "completed"}
    return update("tool_call", **told, **members)


async def show(page: Console, project: Project, *turns: list[Any]) -> None:
    """The session as somebody sees it who comes after these turns."""
    session_id = await project.create_session(agentId="scripted")
    for steps in turns:
        await project.prompt(session_id, json.dumps(steps))
    await page.open(f"#/demo/{session_id}")
    await expect(page.status("Idle")).to_be_visible()


async def test_a_picture_is_read_once_it_comes_into_view(page: Console, scripted_project: Project) -> None:
    pictures = [
        [update("agent_message_chunk", content={"type": "image", "mimeType": "image/png", "data": png(number)})]
        for number in range(3)
    ]
    asked: list[str] = []

    def note(request: Request) -> None:
        if "/content/" in request.url:
            asked.append(request.url)

    page.page.on("request", note)
    prose = [["say", "A paragraph of many.\n\n", 200]]
    await show(page, scripted_project, pictures[0], prose, pictures[1], prose, pictures[2])
    shown = page.transcript.get_by_role("img", name="Picture from the session")
    await expect(shown).to_have_count(3)
    await expect(shown.last).to_have_js_property("naturalWidth", SIDE)
    assert len(asked) == 1
    await shown.first.scroll_into_view_if_needed()
    await expect(shown.first).to_have_js_property("naturalWidth", SIDE)
    assert {url.rpartition("/content/")[2].split("?")[0] for url in asked} == {"0"}
    assert len(asked) <= 3


async def test_a_long_output_and_a_large_change_are_read_on_demand(page: Console, scripted_project: Project) -> None:
    lines = "".join(f"line {number}\n" for number in range(20_000))
    change = {"type": "diff", "path": "/w/list.txt", "oldText": lines, "newText": lines + "one more\n"}
    steps = [call(1, rawOutput=lines), call(2, content=[change]), call(3, rawOutput=list(range(50_000)))]
    await show(page, scripted_project, [steps[0]], [steps[1]], [steps[2]])
    first, second, third = (page.transcript.locator("details.tool", has_text=f"call {number}") for number in (1, 2, 3))
    await first.locator("summary").click()
    await expect(first).to_contain_text("line 100\n")
    await expect(first).not_to_contain_text("line 1000\n")
    await first.get_by_role("button", name="Show all").click()
    await first.get_by_role("button", name="more characters").click()
    await expect(first).to_contain_text("line 19999")
    await second.get_by_role("button", name="Show all").click()
    await expect(second.locator("ins")).to_contain_text("one more")
    await third.locator("summary").click()
    await third.get_by_role("button", name="Show all").click()
    await expect(third.get_by_role("button", name="more characters")).to_be_visible()
