"""Sessions whose agent says what a test wants."""

import json
from typing import Any

from playwright.async_api import expect

from tests.console.browsing import Console
from tests.world import Project


def update(session_update: str, /, **members: Any) -> list[Any]:
    return ["update", {"sessionUpdate": session_update, **members}]


def text(said: str) -> dict[str, str]:
    return {"type": "text", "text": said}


async def begin(page: Console, project: Project, steps: list[Any], title: str | None = None) -> str:
    """The id of a new session, which the page shows; its first turn has begun."""
    session_id = await project.create_session(agentId="scripted", title=title)
    await page.open(f"#/demo/{session_id}")
    await expect(page.status("Idle")).to_be_visible()
    await project.prompt(session_id, json.dumps(steps), wait=None)
    return session_id
