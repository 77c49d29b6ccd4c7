"""One Chromium for all tests of a worker, in which each has a window of its own with nothing remembered.

To start one takes more work than most of its tests.
"""

import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, BrowserContext, async_playwright, expect

from tests.program import wait_until

START_SECONDS = 60.0
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
    profile = directory / "profile"
    command = [str(program), *FLAGS, "--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank"]
    log = directory / "chromium.log"
    with log.open("wb") as said:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True)
        try:
            yield _address(process, profile / "DevToolsActivePort", log)
        finally:
            process.terminate()
            process.wait(20)


def _address(process: subprocess.Popen[bytes], file: Path, log: Path) -> str:
    def is_told() -> bool:
        assert process.poll() is None, log.read_text()
        return file.exists() and len(file.read_text().split()) == 2

    wait_until(is_told, START_SECONDS)
    port, path = file.read_text().split()
    return f"ws://127.0.0.1:{port}{path}"


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
