"""npm's oidc-provider, an OAuth server that people use, as a process; and a person who walks through its pages."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import aiohttp

START_SECONDS = 60.0


@asynccontextmanager
async def real_server(home: Path, *, access_token_seconds: int = 3600, device_seconds: int = 600) -> AsyncIterator[str]:
    """The issuer of a running server; ``home`` has the packages in its ``node_modules``."""
    modules = home / "node_modules"
    told = {"modules": str(modules), "accessTokenSeconds": access_token_seconds, "deviceSeconds": device_seconds}
    process = await asyncio.create_subprocess_exec(
        str(next(modules.glob("node-linux-*/bin/node"))),
        str(Path(__file__).with_name("oidc_server.mjs")),
        json.dumps(told),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(START_SECONDS):
            line = (await process.stdout.readline()).decode().strip()
        assert line.startswith("http://"), "the OAuth server did not start"
        yield line
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


class Walker:
    """A browser without a window or scripts: keeps cookies, follows where it is sent, fills in forms."""

    def __init__(self, http: aiohttp.ClientSession) -> None:
        self._http = http
        self.url = ""
        self.text = ""

    async def go_to(self, url: str, form: dict[str, str] | None = None) -> None:
        """Go there, and on to where that leads; whatever a gateway that is not here would get stays the address."""
        method, data = ("GET", None) if form is None else ("POST", form)
        while True:
            self.url = url
            if "/nobody-listens/" in url:
                return
            async with self._http.request(method, url, data=data, allow_redirects=False) as response:
                self.text = await response.text()
                if response.status not in (301, 302, 303):
                    assert response.status == 200, (url, response.status, self.text)
                    return
                method, data, url = "GET", None, urljoin(url, response.headers["Location"])

    async def submit(self, **fields: str) -> None:
        """Send the page's form, with what stands in it and these."""
        form = re.search(r"<form[^>]*action=\"([^\"]+)\"", self.text)
        assert form is not None, self.text
        inputs = re.findall(r"<input[^>]*>", self.text)
        named = {name: value for tag in inputs for name, value in [_input(tag)] if name}
        await self.go_to(urljoin(self.url, unescape(form[1])), named | fields)

    async def enter_code(self, verification_uri_complete: str) -> None:
        """To the page that asks whether this is the code that is shown."""
        await self.go_to(verification_uri_complete)
        if "op.deviceConfirmForm" not in self.text:
            await self.submit()
        assert "op.deviceConfirmForm" in self.text

    async def log_in(self, login: str = "ada") -> None:
        """Through the pages of login and consent, to wherever they end."""
        await self.submit(login=login, password="any")
        await self.submit()


def _input(tag: str) -> tuple[str, str]:
    def attribute(name: str) -> str:
        found = re.search(rf"\b{name}=\"([^\"]*)\"", tag)
        return unescape(found[1]) if found else ""

    return attribute("name"), attribute("value")


@asynccontextmanager
async def walking() -> AsyncIterator[Walker]:
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(cookie_jar=jar) as http:
        yield Walker(http)


def table(issuer: str, **changes: Any) -> dict[str, Any]:
    """The server as an operator writes it: the rest it says itself."""
    return {
        "client_id": "public",
        "agents": ["demo"],
        "flows": ["pkce", "device"],
        "scopes": ["openid", "offline_access"],
        "issuer": issuer,
        **changes,
    }
