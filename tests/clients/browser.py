"""A real browser: Debian's Chromium without a window, told what to do by its own DevTools protocol.

https://chromedevtools.github.io/devtools-protocol/
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp

from tests.clients.listener import Listener

POLL_SECONDS = 0.05
START_SECONDS = 60.0
#: No window, no sandbox (root has none), and no word to anybody but the pages it is told to open.
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
    "--no-proxy-server", "--remote-debugging-port=0",
)  # fmt: skip
_LISTEN = """
    window.received = []
    window.opened = 0
    window.source = new EventSource(%s)
    source.onopen = () => opened++
    for (const type of %s)
        source.addEventListener(type, (event) => received.push([event.lastEventId, event.type, event.data]))
"""


class Page:
    """An open page."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = count(1)
        self._turn = asyncio.Lock()

    async def evaluate(self, script: str) -> Any:
        """What a script in the page gives, as JSON has it."""
        said = await self._call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in said, said["exceptionDetails"]
        return said["result"].get("value")

    async def go_to(self, url: str) -> None:
        said = await self._call("Page.navigate", url=url)
        assert "errorText" not in said, said["errorText"]
        await self.until(f"location.href + ' ' + document.readyState === {json.dumps(url + ' complete')}")

    async def until(self, condition: str) -> None:
        """Wait until a script gives something true."""
        while not await self.evaluate(condition):  # noqa: ASYNC110 - the browser sets no asyncio.Event
            await asyncio.sleep(POLL_SECONDS)

    @asynccontextmanager
    async def listening(self, name: str, path: str, types: tuple[str, ...]) -> AsyncIterator[Listener]:
        """A native ``EventSource`` of this page on ``path``."""
        await self.evaluate(_LISTEN % (json.dumps(path), json.dumps(types)))
        listener = Listener(name)
        reading = asyncio.create_task(self._read(listener), name=f"read {name}")
        try:
            yield listener
        finally:
            reading.cancel()
            await asyncio.wait((reading,))

    async def opened(self) -> int:
        """How often its stream has been opened."""
        return int(await self.evaluate("opened"))

    async def _read(self, listener: Listener) -> None:
        while listener.ended is None:
            received, state = await self.evaluate("[received.splice(0), source.readyState]")
            for event in received:
                listener.take(*event)
            if state == 2:
                listener.ended = "the browser gave up"
                listener.changed.set()
            await asyncio.sleep(POLL_SECONDS)

    async def _call(self, method: str, **parameters: Any) -> Any:
        number = next(self._numbers)
        async with self._turn:
            await self._socket.send_json({"id": number, "method": method, "params": parameters})
            while True:
                said = await self._socket.receive_json()
                if said.get("id") == number:
                    assert "error" not in said, said["error"]
                    return said["result"]


@asynccontextmanager
async def browser(program: Path, directory: Path) -> AsyncIterator[Page]:
    """A browser with one empty page and a new profile."""
    log = (directory / "chromium.log").open("wb")
    command = [str(program), *FLAGS, f"--user-data-dir={directory / 'profile'}", "about:blank"]
    process = await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log, start_new_session=True)
    try:
        async with asyncio.timeout(START_SECONDS), aiohttp.ClientSession() as http:
            port = await _port(process, directory)
            async with http.put(f"http://127.0.0.1:{port}/json/new?about:blank") as answer:
                target = await answer.json()
        async with (
            aiohttp.ClientSession() as http,
            http.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0) as ws,
        ):
            yield Page(ws)
    finally:
        log.close()
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


async def _port(process: asyncio.subprocess.Process, directory: Path) -> int:
    told = directory / "profile" / "DevToolsActivePort"
    while not (told.exists() and told.read_text().count("\n")):
        assert process.returncode is None, (directory / "chromium.log").read_text()
        await asyncio.sleep(POLL_SECONDS)
    return int(told.read_text().split("\n")[0])
