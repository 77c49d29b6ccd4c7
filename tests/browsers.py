"""One Chromium for all tests of a worker, in which each has a window of its own with nothing remembered.

To start one takes more work than most of its tests.
"""

import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, BrowserContext, async_playwright, expect

#: How long a browser may take to start, and how often it is tried: on a machine without a moment to spare it hangs.
START_SECONDS, STARTS = 50.0, 2
#: How long a page may take for anything; a machine that tests much at a time is slow.
PATIENCE_MS = 60_000
#: No window, no sandbox (root has none), no word to anybody but the pages, and pages run as if somebody looked at them.
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-extensions",
    "--no-first-run", "--no-proxy-server", "--disable-sync", "--disable-quic", "--disable-component-update",
    "--disable-background-networking", "--disable-background-timer-throttling", "--disable-renderer-backgrounding",
    "--disable-backgrounding-occluded-windows", "--disable-back-forward-cache", "--disable-hang-monitor",
    "--disable-ipc-flooding-protection", "--disable-popup-blocking", "--force-color-profile=srgb", "--hide-scrollbars",
    "--password-store=basic",
    # Or each window brings pages of the browser's own along, behind an address bar that nobody sees: half of its work.
    "--disable-field-trial-config",
    "--disable-features=PreloadTopChromeWebUI,SpareRendererForSitePerProcess,WebUIOmniboxAimPopup,WebUIOmniboxPopup",
)  # fmt: skip

expect.set_options(timeout=PATIENCE_MS)


@contextmanager
def chromium_running(program: Path, directory: Path) -> Iterator[str]:
    """A browser without a window, and the address at which it takes orders."""
    for attempt in range(STARTS):
        profile = directory / f"profile-{attempt}"
        command = [str(program), *FLAGS, "--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank"]
        log = directory / f"chromium-{attempt}.log"
        with log.open("wb") as said:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True
            )
        try:
            address = _address(process, profile / "DevToolsActivePort")
            if address is not None:
                yield address
                return
        finally:
            _end(process)
    pytest.fail(f"Chromium has not started within {START_SECONDS:g} s:\n{log.read_text()[-4000:]}")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(10)


def _address(process: subprocess.Popen[bytes], file: Path) -> str | None:
    """Where it takes orders; None where it has not started."""
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        if file.exists() and len(told := file.read_text().split()) == 2:
            return f"ws://127.0.0.1:{told[0]}{told[1]}"
        time.sleep(0.02)
    return None


@asynccontextmanager
async def connected(address: str) -> AsyncIterator[Browser]:
    """That browser, for one test."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.connect_over_cdp(address)
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def window(browser: Browser, **options: Any) -> AsyncIterator[BrowserContext]:
    """A window of a test's own, with nothing remembered, and patience.

    Nothing in it moves for show: without a graphics card, that takes more work than what a page does.
    """
    context = await browser.new_context(**{"reduced_motion": "reduce", **options})
    context.set_default_timeout(PATIENCE_MS)
    try:
        yield context
    finally:
        await context.close()
