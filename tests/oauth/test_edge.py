"""Calls to providers: what goes out, and that whatever comes back is an answer or none."""

import gzip
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any
from unittest.mock import Mock

import aiohttp
import pytest
from aiohttp import ClientResponse
from aioresponses import CallbackResult, aioresponses

from gateway.oauth.edge import MAX_ANSWER, Edge
from gateway.oauth.protocol import requests
from gateway.oauth.protocol.replies import NoReply, Reply
from tests.fakes.provider import Answer, Broken, FakeProvider, Hang
from tests.oauth.samples import PROVIDER

REFRESH = requests.refresh(PROVIDER, refresh_token="refresh-1", scopes=())
JSON = {"Content-Type": "application/json"}


class _Response(ClientResponse):
    """aioresponses 0.7.9 makes answers without an argument that aiohttp 3.14 wants."""

    def __init__(self, *args: Any, **options: Any) -> None:
        options.setdefault("stream_writer", Mock(output_size=0))
        super().__init__(*args, **options)


@pytest.fixture
async def edge() -> AsyncIterator[Edge]:
    async with Edge(timeout=1.0) as opened:
        yield opened


@pytest.fixture
def provider_answers() -> Iterator[aioresponses]:
    with aioresponses() as answers:
        yield answers


async def test_an_answer_comes_back_whole(edge: Edge, provider_answers: aioresponses) -> None:
    headers = {"Retry-After": "7", "Date": "Thu, 26 Nov 2026 12:00:00 GMT"}
    provider_answers.post(
        PROVIDER.token_url, response_class=_Response, status=429, body=b'{"error": "slow_down"}', headers=headers
    )
    reply = await edge.send(REFRESH)
    assert isinstance(reply, Reply)
    assert (reply.status, reply.body, reply.retry_after) == (429, b'{"error": "slow_down"}', 7.0)
    assert reply.date == datetime(2026, 11, 26, 12, tzinfo=UTC)


async def test_what_goes_out_is_what_was_to_be_sent_and_asks_for_no_compression(
    edge: Edge, provider_answers: aioresponses
) -> None:
    seen: list[Any] = []

    def keep(_: Any, **sent: Any) -> CallbackResult:
        seen.append(sent)
        return CallbackResult(body="{}", response_class=_Response)

    provider_answers.post(PROVIDER.token_url, response_class=_Response, callback=keep)
    await edge.send(REFRESH)
    [sent] = seen
    assert sent["data"] == REFRESH.body
    assert sent["allow_redirects"] is False
    assert sent["headers"]["Accept-Encoding"] == "identity"
    assert sent["headers"]["Accept"] == "application/json"


@pytest.mark.parametrize(
    ("failure", "sent"),
    [
        (TimeoutError(), True),
        (aiohttp.ConnectionTimeoutError(), False),
        (aiohttp.ServerDisconnectedError(), True),
        (aiohttp.ClientConnectorDNSError(Mock(ssl=True), OSError("no such name")), False),
        (aiohttp.ClientConnectorError(Mock(ssl=True), OSError("refused")), False),
        (aiohttp.ClientPayloadError("broken"), True),
        (aiohttp.InvalidURL("x"), True),
    ],
)
async def test_a_call_that_fails_tells_whether_it_may_have_arrived(
    edge: Edge, provider_answers: aioresponses, failure: Exception, sent: bool
) -> None:
    provider_answers.post(PROVIDER.token_url, response_class=_Response, exception=failure)
    reply = await edge.send(REFRESH)
    assert isinstance(reply, NoReply)
    assert reply.sent is sent
    assert "refresh-1" not in reply.reason


@pytest.mark.parametrize(
    ("told", "wait"),
    [
        ("5", 5.0),
        ("0", None),
        ("-5", None),
        ("soon", None),
        ("999999", 3600.0),
        ("Thu, 26 Nov 2026 12:00:30 GMT", 30.0),
    ],
)
async def test_when_to_ask_again_may_be_a_length_or_a_time(
    edge: Edge, provider_answers: aioresponses, told: str, wait: float | None
) -> None:
    headers = {"Retry-After": told, "Date": "Thu, 26 Nov 2026 12:00:00 GMT"}
    provider_answers.post(PROVIDER.token_url, response_class=_Response, status=503, headers=headers)
    reply = await edge.send(REFRESH)
    assert isinstance(reply, Reply)
    assert reply.retry_after == wait


# Over a real socket.


def to(provider: FakeProvider) -> requests.Request:
    return requests.Request(url=f"{provider.url}/token", headers=JSON, body=b"{}")


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (Hang(), "did not answer in time"),
        (Broken(), "broke off its answer"),
        (Answer(b"x" * (MAX_ANSWER + 1)), "too long"),
        (Answer(gzip.compress(b"{}" * 1000), headers={"Content-Encoding": "gzip"}), "compresses"),
    ],
)
async def test_an_answer_that_cannot_be_read_is_none(script: Any, said: str) -> None:
    async with FakeProvider() as provider, Edge(timeout=0.5) as edge:
        provider.answers["token"] = [script]
        reply = await edge.send(to(provider))
        assert isinstance(reply, NoReply)
        assert said in reply.reason
        assert reply.sent is True


async def test_neither_redirects_nor_cookies_nor_a_proxy_of_the_environment_are_followed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    async with FakeProvider() as provider, Edge(timeout=2) as edge:
        elsewhere = {"Location": f"{provider.url}/elsewhere", "Set-Cookie": "a=b"}
        provider.answers["token"] = [Answer(b"", 307, elsewhere), Answer({})]
        replies = [await edge.send(to(provider)) for _ in range(2)]
        assert [reply.status for reply in replies if isinstance(reply, Reply)] == [307, 200]
        assert [call.endpoint for call in provider.calls] == ["token", "token"]
        assert not any("Cookie" in call.headers for call in provider.calls)


async def test_a_provider_that_is_not_there_has_not_been_sent_anything() -> None:
    async with FakeProvider() as provider:
        request = to(provider)
    async with Edge(timeout=2) as edge:
        reply = await edge.send(request)
        assert isinstance(reply, NoReply)
        assert (reply.reason, reply.sent) == ("the provider could not be reached", False)
