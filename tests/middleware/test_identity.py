"""With no identity configured only this machine's own user can ask: web pages of others cannot, by any name."""

import json

from gateway.proxy.upstream import Upstream
from tests.middleware.conftest import Ports, ask_raw
from tests.proxy.peers import ask
from tests.world import Gateway

CREATE = "POST /api/projects"
BODY = b'{"containerUrl": "http://h"}'


CHANGES = [
    CREATE,
    "PATCH /api/projects/demo",
    "DELETE /api/projects/demo",
    "POST /api/projects/demo/acp/session",
    "POST /api/projects/demo/acp/x",
    "PUT /api/projects/demo/opencode/x",
]
FOREIGN_HOSTS = [
    "evil.example",
    "evil.example:8080",
    "127.0.0.1.evil.example",
    "localhost.evil.example",
    "10.0.0.1",
    "0.0.0.0",
    "[::]",
    "[::ffff:10.0.0.1]",
    "localhost.",
]


async def test_a_foreign_host_is_refused(gateway: Gateway) -> None:
    for host in FOREIGN_HOSTS:
        answer = await ask_raw(gateway, "GET /api/projects", f"Host: {host}")
        assert (answer.status, json.loads(answer.body)["code"]) == (403, "forbidden")


OWN_HOSTS = ["localhost", "localhost:8080", "LOCALHOST", "127.0.0.1", "127.0.0.1:1", "127.9.9.9", "[::1]", "[::1]:8080"]


async def test_this_machines_own_names_pass(gateway: Gateway) -> None:
    for host in OWN_HOSTS:
        assert (await ask_raw(gateway, "GET /api/projects", f"Host: {host}")).status == 200


async def test_a_client_too_old_to_name_a_host_passes(gateway: Gateway) -> None:
    answer = await ask(Upstream.parse(gateway.url), b"GET /api/projects HTTP/1.0\r\n\r\n")
    assert answer.status == 200


FOREIGN_PAGES = [
    "Origin: https://evil.example",
    "Origin: http://localhost.evil.example",
    "Origin: null",
    "Origin: http://[::1",
    "Origin: file://",
    "Origin: ",
    "Origin: chrome-extension://abcdef",
    "Origin: http://localhost:3000",
    "Origin: http://localhost",
    "Origin: https://localhost:8080",
    "Origin: http://127.0.0.1:8080",
    "Origin: https://[::1]:8443",
    "Sec-Fetch-Site: cross-site",
    "Sec-Fetch-Site: CROSS-SITE",
    "Sec-Fetch-Site: same-site",
    "Sec-Fetch-Site: of-a-kind-to-come",
    "Origin: http://localhost:8080\r\nOrigin: https://evil.example",
    "Sec-Fetch-Site: none\r\nSec-Fetch-Site: cross-site",
]
#: What a browser may be asked to do by a page, without anybody's leave: to read with these, as it says itself.
READING = [
    "GET /api/projects",
    "HEAD /api/projects",
    "OPTIONS /api/projects",
    "GET /api/projects/demo/acp/events",
    "GET /api/projects/demo/acp/x",
    "GET /api/projects/demo/opencode/x",
    "HEAD /api/projects/demo/opencode/x",
    "OPTIONS /api/projects/demo/opencode/x",
    "GET /openapi.json",
]


async def test_a_foreign_page_may_do_nothing(gateway: Gateway, ports: Ports) -> None:
    for field in FOREIGN_PAGES:
        for start in (*CHANGES, *READING):
            body = b"" if start in READING else BODY
            answer = await ask_raw(
                gateway, start, "Host: localhost:8080", field, "Content-Type: application/json", body=body
            )
            assert answer.status == 403, (start, field)
            assert start.startswith("HEAD") or json.loads(answer.body)["code"] == "forbidden"
        assert ports.acp.requests == ports.opencode.requests == []
        projects = json.loads((await ask_raw(gateway, "GET /api/projects")).body)["projects"]
        assert [project["id"] for project in projects] == ["demo"]


async def test_a_foreign_page_may_not_open_a_websocket(ports: Ports) -> None:
    handshake = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"]
    key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
    start = "GET /api/projects/demo/opencode/pty"
    answer = await ports.ask(start, *handshake, key, "Origin: https://evil.example")
    assert (answer.status, json.loads(answer.body)["code"]) == (403, "forbidden")
    assert ports.opencode.requests == []


OWN_PAGES = [
    ["Origin: http://localhost:8080"],
    ["Origin: http://localhost:8080", "Sec-Fetch-Site: same-origin"],
    # A proxy that nobody has named has taken TLS away; the browser knows.
    ["Origin: https://localhost:8080", "Sec-Fetch-Site: same-origin"],
    ["Sec-Fetch-Site: same-origin"],
    ["Sec-Fetch-Site: none"],
]


async def test_the_gateways_own_pages_may(gateway: Gateway) -> None:
    for fields in OWN_PAGES:
        answer = await ask_raw(
            gateway, CREATE, "Host: localhost:8080", *fields, "Content-Type: application/json", body=BODY
        )
        assert answer.status == 201, fields


LINK = ["Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"]


async def test_a_link_on_a_foreign_page_leads_here_as_any_link(gateway: Gateway, ports: Ports) -> None:
    for start, host, status in (
        ("GET /console", "localhost", 200),
        ("GET /api/projects", "localhost", 200),
        ("GET /api/projects/demo/opencode/x", "localhost", 307),
        ("GET /x", "demo.localhost", 200),
    ):
        assert (await ask_raw(gateway, start, f"Host: {host}", *LINK)).status == status, start


NO_LINKS = [
    ["Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image"],
    ["Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: script"],
    ["Sec-Fetch-Site: same-site", "Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: empty"],
    ["Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: iframe"],
    ["Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: object"],
    [*LINK, "Sec-Purpose: prefetch;prerender"],
    [*LINK, "Origin: null"],
]


async def test_what_a_foreign_page_shows_of_here_in_itself_is_no_link(gateway: Gateway, ports: Ports) -> None:
    for host, path in (("localhost", "/api/projects/demo/opencode/x"), ("demo.localhost", "/x"), ("localhost", "/")):
        for fields in NO_LINKS:
            assert (await ask_raw(gateway, f"GET {path}", f"Host: {host}", *fields)).status == 403, fields
        form = await ask_raw(gateway, f"POST {path}", f"Host: {host}", *LINK, body=b"a=b")
        assert form.status == 403
    assert ports.opencode.requests == []
