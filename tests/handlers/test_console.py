"""The files of the console, as they are served."""

import gzip
import hashlib
import re
from pathlib import Path

import pytest

import gateway.web.handlers.console as served
from tests.world import PROXIED, Gateway, GatewayProcess

FILES = sorted(served.files())
#: dist/browser/markdown-it.esm.min.mjs of the npm package, version 15.0.3.
SHA256_OF_MARKDOWN_IT = "d5432491790141da046b1197353705db03264f40b5727f3b4b591f5aba193e30"
#: What a page can load by: from elsewhere, inline, or by turning text into HTML or script.
FORBIDDEN = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|https?://(?!www\.w3\.org|127\.0\.0\.1|localhost)"
)


async def test_the_page_allows_nothing_from_elsewhere_nothing_inline_and_no_string_as_html(gateway: Gateway) -> None:
    answer = await gateway.call("GET", "/console")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    policy = dict(part.split(" ", 1) for part in answer.headers["Content-Security-Policy"].split("; "))
    assert policy.pop("img-src") == "'self' data: blob:"
    assert policy.pop("require-trusted-types-for") == "'script'"
    assert set(policy.values()) == {"'none'", "'self'"}
    assert {name for name, value in policy.items() if value == "'self'"} == {
        "script-src",
        "style-src",
        "font-src",
        "connect-src",
    }
    assert (answer.headers["X-Content-Type-Options"], answer.headers["Referrer-Policy"]) == ("nosniff", "no-referrer")


@pytest.mark.parametrize(
    "name", [name for name in FILES if name.endswith((".js", ".html", ".css")) and "vendor" not in name]
)
def test_what_we_wrote_ourselves_makes_no_html_of_text_and_names_no_other_host(name: str) -> None:
    text = (served.HOME / name).read_text("utf-8")
    assert not FORBIDDEN.findall(text)
    assert not re.search(r"<script>|<style|\son\w+=|\sstyle=", text)


async def test_each_file_is_served_as_what_it_is_and_once_for_whoever_has_it(gateway: Gateway) -> None:
    kinds = {".js": "text/javascript", ".mjs": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
    for name in set(FILES) - {served.INDEX}:
        first = await gateway.call("GET", f"/console/{name}", headers={"Accept-Encoding": "gzip"})
        kind = kinds.get(Path(name).suffix, "text/plain")
        assert (first.status, first.headers["Content-Type"].split(";")[0]) == (200, kind)
        packed = first.headers.get("Content-Encoding") == "gzip"
        assert (gzip.decompress(first.body) if packed else first.body) == (served.HOME / name).read_bytes()
        again = await gateway.call("GET", f"/console/{name}", headers={"If-None-Match": first.headers["ETag"]})
        assert (again.status, again.body, again.headers["Cache-Control"]) == (304, b"", "no-cache")


@pytest.mark.parametrize(
    "path",
    [
        "/console/nothing.js",
        "/console/types.d.ts",
        "/console/index.html",
        "/console/../config.py",
        "/console/%2e%2e/config.py",
    ],
)
async def test_nothing_else_is_served(gateway: Gateway, path: str) -> None:
    answer = await gateway.call("GET", path)
    assert (answer.status, answer.json["code"]) == (404, "not_found")


@pytest.mark.parametrize(("path", "place"), [("/", "console"), ("/console/", "../console")])
async def test_a_browser_that_opens_the_gateway_is_shown_the_console(gateway: Gateway, path: str, place: str) -> None:
    answer = await gateway.call("GET", path)
    assert (answer.status, answer.headers["Location"]) == (302, place)


async def test_the_page_is_for_everybody_and_the_api_asks_who_they_are(database_url: str) -> None:
    async with GatewayProcess(database_url, PROXIED).run() as gateway:
        assert (await gateway.call("GET", "/console")).status == 200
        assert (await gateway.call("GET", "/console/main.js")).status == 200
        assert (await gateway.call("GET", "/api/projects")).status == 401


def test_what_is_vendored_is_what_its_authors_published() -> None:
    vendored = (served.HOME / "vendor" / "markdown-it.esm.min.mjs").read_bytes()
    assert vendored.startswith(b"/*! markdown-it 15.0.3 ")
    assert hashlib.sha256(vendored).hexdigest() == SHA256_OF_MARKDOWN_IT
    assert "Vitaly Puzrin" in (served.HOME / "vendor" / "markdown-it.LICENSE").read_text("utf-8")
