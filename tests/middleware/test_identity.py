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
    "localhost@evil.example",
    "evil.example@localhost",
    "10.0.0.1",
    "0.0.0.0",
    "[::]",
    "[::ffff:10.0.0.1]",
    "[::1",
    "::1]",
    "[",
    "[x]",
    "127.0.0.1\\@evil.example",
    "",
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
    "Sec-Fetch-Site: cross-site",
    "Sec-Fetch-Site: CROSS-SITE",
]


async def test_a_foreign_page_may_not_change_anything(gateway: Gateway, ports: Ports) -> None:
    for field in FOREIGN_PAGES:
        starts = [
            CREATE,
            "PATCH /api/projects/demo",
            "DELETE /api/projects/demo",
            "POST /api/projects/demo/acp/session",
        ]
        starts += ["POST /api/projects/demo/acp/x", "PUT /api/projects/demo/opencode/x"]
        for start in starts:
            answer = await ask_raw(gateway, start, field, "Content-Type: application/json", body=BODY)
            assert (answer.status, json.loads(answer.body)["code"]) == (403, "forbidden"), start
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
    "Origin: http://localhost:3000",
    "Origin: http://127.0.0.1:8080",
    "Origin: https://[::1]:8443",
    "Sec-Fetch-Site: same-origin",
    "Sec-Fetch-Site: same-site",
    "Sec-Fetch-Site: none",
]


async def test_a_page_of_this_machine_may(gateway: Gateway) -> None:
    for field in OWN_PAGES:
        answer = await ask_raw(gateway, CREATE, field, "Content-Type: application/json", body=BODY)
        assert answer.status == 201
