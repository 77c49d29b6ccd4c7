"""A proxy's word for who asks: believed from the named addresses alone."""

import attrs
import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from gateway.config.schema import IdentityConfig
from gateway.identity.proxy import Proxies
from tests.middleware.conftest import ask_raw
from tests.world import PROXIED, Answer, Gateway, GatewayProcess


def told(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.json["code"]


async def test_who_is_not_named_is_told_what_is_wanted(gateway: Gateway) -> None:
    for path in ("/api/projects", "/api/projects/demo/acp/events", "/api/projects/demo/opencode/"):
        answer = await gateway.call("GET", path)
        assert told(answer) == (401, "unauthenticated")
        assert "a proxy in front of the gateway" in answer.json["detail"]
        assert answer.headers["WWW-Authenticate"]


async def test_the_header_is_not_believed_from_elsewhere(database_url: str) -> None:
    elsewhere = IdentityConfig(modes=("proxy",), proxy_addresses=("10.0.0.0/8",))
    async with GatewayProcess(database_url, attrs.evolve(PROXIED, identity=elsewhere)).run() as gateway:
        assert told(await gateway.as_user("alice").call("GET", "/api/projects")) == (401, "unauthenticated")


async def test_the_header_from_elsewhere_does_not_make_a_local_user_another_one(database_url: str) -> None:
    both = IdentityConfig(modes=("local", "proxy"), proxy_addresses=("10.0.0.0/8",))
    async with GatewayProcess(database_url, attrs.evolve(PROXIED, identity=both)).run() as gateway:
        await gateway.as_user("alice").register("http://127.0.0.1:1")
        assert (await gateway.call("GET", "/api/projects/demo")).json["ownerId"] == "local"


@pytest.mark.parametrize("name", ["local", "gateway", "rule", " ", "x" * 201])
async def test_a_user_whom_nobody_can_be_is_refused(gateway: Gateway, name: str) -> None:
    assert told(await gateway.as_user(name).call("GET", "/api/projects")) == (401, "unauthenticated")


async def test_a_header_that_comes_twice_is_refused(gateway: Gateway) -> None:
    answer = await ask_raw(gateway, "GET /api/projects", "X-Forwarded-User: alice", "X-Forwarded-User: bob")
    assert answer.status == 401


@pytest.mark.parametrize(
    ("forwarded", "peer", "client"),
    [
        ([], "10.0.0.1", "10.0.0.1"),
        (["192.0.2.7"], "10.0.0.1", "192.0.2.7"),
        (["192.0.2.7"], "192.0.2.9", "192.0.2.9"),
        (["1.1.1.1, 192.0.2.7"], "10.0.0.1", "192.0.2.7"),
        (["1.1.1.1", "192.0.2.7, 10.0.0.2"], "::ffff:10.0.0.1", "192.0.2.7"),
        (["10.0.0.3, 10.0.0.2"], "10.0.0.1", "10.0.0.3"),
        (["what"], "10.0.0.1", "10.0.0.1"),
        (["192.0.2.7, what"], "10.0.0.1", "10.0.0.1"),
        (["192.0.2.7:8080"], "10.0.0.1", "192.0.2.7"),
        (["[2001:db8::1]:8080"], "10.0.0.1", "2001:db8::1"),
        (["2001:db8::1"], "10.0.0.1", "2001:db8::1"),
        (["\udcff\udcfe"], "10.0.0.1", "10.0.0.1"),
        (["1.1.1.1, , 192.0.2.7,"], "10.0.0.1", "192.0.2.7"),
    ],
)
def test_the_client_is_the_last_whom_no_proxy_of_ours_is(forwarded: list[str], peer: str, client: str) -> None:
    headers = CIMultiDictProxy(CIMultiDict([("X-Forwarded-For", value) for value in forwarded]))
    assert Proxies(["10.0.0.0/8"]).client_of(headers, peer) == client
