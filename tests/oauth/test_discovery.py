"""A provider's own metadata, right and poisoned."""

from collections.abc import AsyncIterator
from typing import Any

import attrs
import pytest

from gateway.errors import ProviderAnswerInvalid, ProviderUnavailable
from gateway.oauth.discovery import Discovery, metadata_of
from gateway.oauth.edge import Edge
from gateway.oauth.protocol.provider import Provider
from gateway.oauth.protocol.replies import NoReply
from tests.fakes.provider import Answer, FakeProvider
from tests.oauth.samples import reply

ISSUER = "https://id.example"
GENERIC = Provider(id="company", name="Company", flows=("pkce",), issuer=ISSUER, discover=True, client_id="c")


@pytest.fixture
async def discovery() -> AsyncIterator[Discovery]:
    async with Edge(timeout=1) as edge:
        yield Discovery(edge, allow_http_loopback=True)


async def test_what_is_left_out_is_read_and_asked_for_once(discovery: Discovery, provider: FakeProvider) -> None:
    generic = attrs.evolve(GENERIC, issuer=provider.url, token_url="https://own.example/token")
    found = await discovery.completed(generic)
    assert found.authorize_url == f"{provider.url}/authorize"
    assert found.token_url == "https://own.example/token"
    assert found.require_iss is True
    provider.answers["metadata"] = [Answer({}, 500)]
    assert await discovery.completed(generic) == found


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"issuer": "https://evil.example", "token_endpoint": "https://evil.example/token"}, 200, "another issuer's"),
        ({"issuer": f"{ISSUER}/"}, 200, "another issuer's"),
        ({}, 200, "another issuer's"),
        (b"<html>", 200, "answered 200"),
        (b"", 404, "answered 404"),
        ({"issuer": ISSUER}, 302, "answered 302"),
    ],
)
def test_metadata_of_anybody_else_is_none(body: Any, status: int, said: str) -> None:
    with pytest.raises(ProviderAnswerInvalid, match=said):
        metadata_of(reply(body, status), GENERIC)


def test_metadata_that_is_not_to_be_had_is_told_as_that() -> None:
    with pytest.raises(ProviderUnavailable, match="could not be reached"):
        metadata_of(NoReply(reason="the provider could not be reached", sent=False), GENERIC)


@pytest.mark.parametrize("endpoint", ["http://169.254.169.254/token", "ftp://x", 5, "https://a@b/", "javascript:x"])
async def test_secrets_are_sent_nowhere_that_metadata_makes_up(
    discovery: Discovery, provider: FakeProvider, endpoint: Any
) -> None:
    provider.answers["metadata"] = [Answer({"issuer": provider.url, "token_endpoint": endpoint})]
    with pytest.raises(ProviderAnswerInvalid, match="token_endpoint"):
        await discovery.completed(attrs.evolve(GENERIC, issuer=provider.url))
    # And it is not remembered as if it had been right.
