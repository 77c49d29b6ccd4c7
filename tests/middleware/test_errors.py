"""Failures that are nobody's bad input: still one form of answer, which tells nothing of the gateway's insides."""

import json
import logging

import pytest

from gateway.proxy.upstream import Upstream
from tests.db.things import ask
from tests.fakes.container import FakeContainer
from tests.proxy.peers import connect
from tests.world import Gateway


async def test_a_fault_of_ours_tells_its_insides_to_the_log_only(
    gateway: Gateway, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    ask(database_url, "alter table projects rename to gone")
    answer = await gateway.call("GET", "/api/projects/geheim")
    assert (answer.status, answer.headers["Content-Type"]) == (500, "application/problem+json")
    assert answer.json["requestId"] == answer.headers["X-Request-Id"]
    for word in ("gone", "select", "relation", "Traceback", ".py"):
        assert word not in json.dumps(answer.json)
    assert answer.json["requestId"] in [getattr(record, "request", None) for record in caplog.records]


async def test_a_stream_that_fails_after_its_beginning_is_broken_off(
    gateway: Gateway, base_container: FakeContainer, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    project = await gateway.register(base_container.url)
    await project.create_session()
    ask(database_url, "alter table events rename to gone")
    address = Upstream.parse(gateway.url)
    with caplog.at_level(logging.CRITICAL, "aiohttp.server"):
        async with connect(address) as peer:
            await peer.send(
                f"GET {project.acp}/events?from=start HTTP/1.1\r\nHost: {address.authority}\r\n\r\n".encode()
            )
            answer = await peer.message()
    assert (answer.status, answer.complete) == (200, False)
    assert b"HTTP/1.1" not in answer.body


async def test_a_containers_error_may_hold_any_text(gateway: Gateway, base_container: FakeContainer) -> None:
    project = await gateway.register(base_container.url)
    error = "\ud800 \0 \n\r\x1b ä \U0001f600"
    base_container.fail_next("/agents/demo/spawn", error)
    answer = await project.call("POST", "/agents/demo/spawn")
    assert (answer.status, answer.json["code"]) == (502, "upstream_failed")
    assert "ä \U0001f600" in answer.json["detail"]


async def test_every_json_of_ours_is_a_line_of_its_own(gateway: Gateway) -> None:
    for path, status in (("/api/projects", 200), ("/api/projects/nobody", 404), ("/nothing", 404)):
        answer = await gateway.call("GET", path)
        assert (answer.status, answer.body.count(b"\n"), answer.body[-1:]) == (status, 1, b"\n")


async def test_the_ticket_in_a_login_pages_path_is_neither_told_nor_logged(
    gateway: Gateway, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    path = "/api/oauth/login/a-ticket-that-opens-it"
    for method, further in (("DELETE", ""), ("POST", "/more"), ("GET", "/..")):
        assert b"a-ticket" not in (await gateway.call(method, path + further)).body
    ask(database_url, "alter table pending_logins rename to gone")
    answer = await gateway.call("GET", path)
    assert (answer.status, answer.json["instance"]) == (500, "/api/oauth/login/***")
    assert "a-ticket" not in caplog.text + str([vars(record) for record in caplog.records])
