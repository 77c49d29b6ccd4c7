"""Log lines tell of which request, project, session and turn they are, and never what was said."""

import io
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest

from gateway.config.schema import LoggingConfig
from gateway.telemetry import context
from gateway.telemetry import logging as logs
from gateway.telemetry.context import about, begin_request, present
from tests.middleware.conftest import ask_raw
from tests.replica import replica
from tests.world import QUICK, Gateway, GatewayProcess


@pytest.fixture(autouse=True)
def about_nothing() -> Iterator[None]:
    """What a test without a loop says of its work would be said of the next one's."""
    yield
    context._REQUEST.set(None)
    context._IDS.set({})


@contextmanager
def logging_to(monkeypatch: pytest.MonkeyPatch, **settings: Any) -> Iterator[io.StringIO]:
    root, ours = logging.getLogger(), logging.getLogger("gateway")
    before = root.handlers[:], root.level, ours.level
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    logs.configure(LoggingConfig(**settings))
    try:
        yield stream
    finally:
        root.handlers[:] = before[0]
        root.setLevel(before[1])
        ours.setLevel(before[2])


def entries(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_and_an_object_say_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    logger = logging.getLogger("gateway.test")
    begin_request("r1", {"project_id": "demo", "session_id": "ses_1", "tail": "secret/path"})
    about(turn_id="trn_1")
    with logging_to(monkeypatch) as lines:
        logger.info("it happened", extra={"reason": "two words", "count": 3})
    with logging_to(monkeypatch, format="json") as objects:
        logger.info("it happened", extra={"reason": "two words", "count": 3, "message_id": b"x"})
    line = lines.getvalue()
    assert line.endswith(
        "info    gateway.test: it happened request=r1 project=demo session=ses_1 turn=trn_1 "
        "reason='two words' count=3\n"
    )
    assert "secret" not in line
    (entry,) = entries(objects)
    assert entry.pop("time").endswith("Z")
    assert entry == {
        "level": "info",
        "logger": "gateway.test",
        "message": "it happened",
        "request": "r1",
        "project": "demo",
        "session": "ses_1",
        "turn": "trn_1",
        "reason": "two words",
        "count": 3,
        "message_id": "b'x'",
    }


def test_an_exception_stays_one_line_in_json(monkeypatch: pytest.MonkeyPatch) -> None:
    with logging_to(monkeypatch, format="json") as stream:
        try:
            raise ValueError("broken\nin two")
        except ValueError:
            logging.getLogger("gateway.test").exception("failed")
    (entry,) = entries(stream)
    assert "ValueError: broken\nin two" in entry["exception"]


@pytest.mark.parametrize("text", ["a\nerror   gateway: forged", "a\rb", "a\x1b[2Jb", "a b", "", 'a"b'])
def test_a_field_cannot_forge_a_line(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    with logging_to(monkeypatch) as stream:
        logging.getLogger("gateway.test").info("it", extra={"field": text})
    assert stream.getvalue().count("\n") == 1
    assert "\x1b" not in stream.getvalue()
    assert f"field={text!r}\n" in stream.getvalue()


def test_what_a_path_says_in_an_ids_place_is_told_only_if_it_looks_like_one() -> None:
    begin_request("r1", {"project_id": "no id at all\n", "session_id": "x" * 65})
    assert present() == {"request": "r1"}


async def test_a_request_that_cannot_be_read_is_a_line_without_its_bytes(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    with logging_to(monkeypatch) as stream:
        await ask_raw(gateway, "GET /api/projects?ticket=secret", "X Bad: secret")
    assert "request not understood reason=BadHttpMessage" in stream.getvalue()
    assert "secret" not in stream.getvalue()
    assert "Traceback" not in stream.getvalue()


async def test_the_access_log_tells_route_status_bytes_and_duration_and_no_query(
    database_url: str, agent_host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = attrs.evolve(QUICK, logging=LoggingConfig(access=True, format="json"))
    with logging_to(monkeypatch, format="json") as stream:
        async with GatewayProcess(database_url, config).run() as gateway:
            project = await gateway.register(agent_host, defaultAgentId="demo")
            session = await project.create_session()
            async with project.events(session) as events:
                await project.prompt(session, "say my words")
                await events.until("turn_ended")
            answer = await gateway.call("GET", "/api/projects/demo")
            await gateway.call("GET", "/api/projects/demo/acp/unknown?secret=1")
            await gateway.call("GET", "/nowhere/secret")
    found = [entry for entry in entries(stream) if entry["logger"] == "gateway.access"]
    by_route = {(entry["method"], entry["route"], entry["status"]): entry for entry in found}
    one = by_route["GET", "/api/projects/{project_id}", "200"]
    assert one["request"] == answer.headers["X-Request-Id"]
    assert one["project"] == "demo"
    assert one["bytes"] == len(answer.body)
    assert 0 < one["ms"] < 60_000
    assert by_route["GET", "unmatched", "404"]
    # Its client left, which is how a stream ends.
    streamed = by_route["GET", "/api/projects/{project_id}/acp/events/{session_id}", "left"]
    assert streamed["session"] == session
    assert streamed["bytes"] > len(events.raw) / 2
    assert "secret" not in stream.getvalue()
    assert "my words" not in stream.getvalue()


async def test_at_debug_no_prompt_answer_token_or_body_is_logged_by_anybody(
    database_url: str, agent_host: str, tmp_path: Path
) -> None:
    """A process with everything that it is built on, at its most talkative."""
    settings = {
        "ACP_GATEWAY_LOGGING_LEVEL": "debug",
        "ACP_GATEWAY_LOGGING_ACCESS": "true",
        "ACP_GATEWAY_LOGGING_FORMAT": "json",
        "ACP_GATEWAY_METRICS_TOKEN": "metrics-token",
    }
    async with replica(database_url, tmp_path, settings) as one:
        project = await one.gateway.register(agent_host, defaultAgentId="demo")
        session = await project.create_session(title="my title")
        turn = (await project.prompt(session, "say my words\nfail my failure"))["turnId"]
        for headers in ({"Authorization": "Bearer caller-token"}, {"Cookie": "a=cookie-token"}):
            await one.gateway.call("GET", "/api/projects?ticket=query-token", headers=headers)
        await one.gateway.call("POST", "/api/projects", raw=b'{"id": "body-token')
        await project.call("GET", "/unknown?x=query-token")
        await one.terminate()
        said = one.program.complained()
    lines = [json.loads(line) for line in said.splitlines()]
    assert any(line.get("turn") == turn or line.get("session") == session for line in lines)
    for text in ("my words", "my title", "metrics-token", "caller-token", "cookie-token", "query-token", "body-token"):
        assert text not in said, text
