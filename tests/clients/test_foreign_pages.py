"""Pages in a real browser: of another port of this machine, and of containers, below the prefix and on own hosts."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.clients.browser import Page, browser
from tests.proxy.peers import serve
from tests.world import Gateway

#: All that a page can do without anybody's leave, one after the other; then it says what it has got to know.
TRY_EVERYTHING = """
    (async (gateway) => {
        const base = gateway + '/api/projects/demo'
        const known = []
        const ask = async (path, options) => {
            try {
                const answer = await fetch(base + path, options)
                known.push(answer.type === 'opaque' ? 'nothing' : answer.status)
            } catch { known.push('nothing') }
        }
        const until = (target, ...types) => new Promise((done) => {
            for (const type of types) target.addEventListener(type, () => done(type))
        })
        for (const mode of ['cors', 'no-cors']) {
            for (const method of ['GET', 'POST', 'HEAD'])
                for (const path of ['/opencode/x', '/acp/x', '/acp/agents'])
                    await ask(path, {method, mode, credentials: 'include'})
            await ask('/opencode/beacon', {method: 'POST', mode, body: 'x', headers: {'Content-Type': 'text/plain'}})
        }
        navigator.sendBeacon(base + '/opencode/beacon', 'x')
        for (const address of [base.replace('http', 'ws') + '/opencode/pty', gateway.replace('http', 'ws')]) {
            const socket = new WebSocket(address)
            known.push(await until(socket, 'open', 'error'))
        }
        known.push(await until(new EventSource(base + '/acp/events', {withCredentials: true}), 'open', 'error'))
        for (const name of ['img', 'script', 'iframe', 'link']) {
            const element = document.createElement(name)
            if (name === 'link') element.rel = 'stylesheet'
            element[name === 'link' ? 'href' : 'src'] = base + '/opencode/' + name
            document.body.append(element)
            known.push(await until(element, 'load', 'error'))
        }
        return known
    })"""
#: What its page knows of where it is, and of the gateway.
WHERE_AM_I = """
    (async () => {
        const found = {origin: self.origin, cookie: '', api: 'unreadable', own: 'unreadable', worker: 'none'}
        try { document.cookie = 'theme=dark; path=/'; found.cookie = document.cookie } catch {}
        try { found.api = (await fetch('/api/projects')).status } catch {}
        try { found.own = await (await fetch('/visits', {cache: 'no-store'})).text() } catch {}
        try { await navigator.serviceWorker.register('/worker.js'); found.worker = 'registered' } catch {}
        return found
    })()"""


TELLS_ITS_ORIGIN = "<body><script>parent.postMessage(self.origin, '*')</script>"
#: Fetches an address as data, then shows it in a frame; gives the origin that its page tells.
FETCH_THEN_SHOW = """
    (async (address) => {
        await (await fetch(address)).text()
        const told = new Promise((done) => addEventListener('message', (event) => done(event.data)))
        const frame = document.createElement('iframe')
        frame.src = address
        document.documentElement.append(frame)
        return await told
    })"""


class Container:
    """Serves a page on every path, and remembers what reached it."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.seen.append((request.method, request.path))
        if request.headers.get("Upgrade"):
            socket = web.WebSocketResponse()
            await socket.prepare(request)
            return socket
        response = web.Response(text=TELLS_ITS_ORIGIN, content_type="text/html")
        if request.path == "/visits":
            visits = int(request.cookies.get("visits", "0")) + 1
            response = web.Response(text=f"{visits} {request.cookies.get('theme')}")
            response.set_cookie("visits", str(visits), httponly=True)
        if request.path == "/worker.js":
            response = web.Response(text="", content_type="text/javascript")
        response.headers["Cache-Control"] = "public, max-age=3600, immutable"
        return response


@pytest.fixture
def container() -> Container:
    return Container()


@pytest.fixture
async def project(gateway: Gateway, container: Container) -> AsyncIterator[Gateway]:
    async with serve(container.answer) as upstream:
        await gateway.register(str(upstream), containerUrl=str(upstream))
        yield gateway


@asynccontextmanager
async def opened(program: Path, directory: Path, url: str) -> AsyncIterator[Page]:
    async with asyncio.timeout(60), browser(program, directory) as page:
        await page.go_to(url)
        yield page


async def page_of_another_port(request: web.Request) -> web.Response:
    return web.Response(text="<body>", content_type="text/html")


async def test_a_page_of_another_port_of_this_machine_reaches_nothing(
    project: Gateway, container: Container, chromium: Path, tmp_path: Path
) -> None:
    async with serve(page_of_another_port) as another:
        async with opened(chromium, tmp_path, f"{another}/") as page:
            names = ("127.0.0.1", "localhost")
            for name in names:
                known = await page.evaluate(f"{TRY_EVERYTHING}({json.dumps(project.url.replace('127.0.0.1', name))})")
                assert "open" not in known
                assert {one for one in known if isinstance(one, int)} == set(), known
            assert container.seen == []
            # A link is all it has, and leads to a page that is no part of it.
            await page.evaluate(f"location = {json.dumps(project.url + '/api/projects/demo/opencode/page')}")
            await page.until("location.hostname === 'demo.localhost' && document.readyState === 'complete'")
    assert ("GET", "/page") in container.seen
    audit = await project.call("GET", "/api/projects/demo/audit")
    assert {entry["outcome"] for entry in audit.json["entries"] if "demo" in entry["path"]} <= {"refused"}


async def test_a_containers_page_has_nothing_of_the_gateways_and_its_own_host_has_its_cookies(
    project: Gateway, container: Container, chromium: Path, tmp_path: Path
) -> None:
    below = json.dumps(f"{project.url}/api/projects/demo/opencode/page")
    port = project.url.rpartition(":")[2]
    async with opened(chromium, tmp_path, f"{project.url}/api/projects") as page:
        assert await page.evaluate(f"{FETCH_THEN_SHOW}({below})") == "null"
        await page.go_to(f"http://demo.localhost:{port}/page")
        found: Any = await page.evaluate(WHERE_AM_I)
        assert found["origin"] == f"http://demo.localhost:{port}"
        assert (found["own"], found["worker"]) == ("1 dark", "registered")
        assert (await page.evaluate(WHERE_AM_I))["own"] == "2 dark"
        assert await page.evaluate(f"fetch({below}).then(() => 'read', () => 'refused')") == "refused"
    assert container.seen.count(("GET", "/page")) == 3
