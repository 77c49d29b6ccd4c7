"""The console in a real browser, as somebody uses it."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
from playwright.async_api import Browser, Locator, Page

from tests.browsers import window

#: What the browser itself says of calls that failed: a gateway that was killed is such a one.
_FAILED_CALL = re.compile(r"Failed to load resource|net::ERR_|EventSource")


@attrs.define
class Console:
    """An open console."""

    page: Page
    url: str
    #: What went wrong in the page: uncaught errors, and what its policy refused.
    faults: list[str] = attrs.field(factory=list)

    async def open(self, place: str = "") -> None:
        await self.page.goto(f"{self.url}/console{place}")

    async def begin_session(self, prompt: str, project: str = "demo") -> str:
        """Begin a session with its first prompt; its id."""
        await self.open(f"#/{project}/new")
        await self.page.get_by_label("First prompt").fill(prompt)
        await self.page.get_by_role("button", name="Begin session").click()
        await self.page.wait_for_url(re.compile(r"#/[^/]+/ses_"))
        return self.page.url.rsplit("/", 1)[1]

    async def prompt(self, text: str) -> None:
        box = self.page.get_by_role("textbox", name="Prompt")
        await box.fill(text)
        await box.press("Enter")

    @property
    def transcript(self) -> Locator:
        return self.page.get_by_role("region", name="Transcript")

    @property
    def answers(self) -> Locator:
        """What the agent has said, message by message."""
        return self.transcript.get_by_role("article", name="Agent")

    @property
    def dock(self) -> Locator:
        """What waits for an answer."""
        return self.page.get_by_role("region", name="Waiting for your answer")

    def status(self, word: str) -> Locator:
        return self.page.locator(".session-head .status", has_text=re.compile(f"^{word}$"))

    async def said(self) -> str:
        """All that the agent has said, message by message."""
        return "\n".join(await self.answers.locator(".prose").all_inner_texts())


@asynccontextmanager
async def console(running: Browser, url: str, **options: Any) -> AsyncIterator[Console]:
    """A window of its own, with nothing remembered. What goes wrong in the page fails the test."""
    async with window(running, **{"viewport": {"width": 1200, "height": 800}, **options}) as context:
        opened = Console(await context.new_page(), url)
        opened.page.on("pageerror", lambda error: opened.faults.append(str(error)))
        opened.page.on("console", lambda said: _note(opened, said.type, said.text))
        yield opened
        assert not opened.faults


def _note(opened: Console, kind: str, text: str) -> None:
    if kind == "error" and not _FAILED_CALL.search(text):
        opened.faults.append(text)
