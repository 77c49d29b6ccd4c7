"""Failures slow down whoever makes them, and nobody else."""

import asyncio
import json
from collections.abc import AsyncIterator
from itertools import count
from typing import Any

import attrs
import pytest

from gateway.config.schema import IdentityConfig, MetricsConfig
from gateway.errors import TooManyRequests
from gateway.identity.stream_tickets import StreamOf
from gateway.identity.throttle import BURST, MAX_ADDRESSES, REFILL_SECONDS, Throttle
from gateway.identity.tokens import NewToken, Tokens
from gateway.web.keys import DATABASE
from gateway.web.routes import ENDPOINTS
from tests.world import QUICK, Answer, Gateway, GatewayProcess

CLIENT, OTHER = "192.0.2.7", "192.0.2.8"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def is_slowed(throttle: Throttle, address: str | None, credential: str = "guess") -> int | None:
    """How many seconds it is told to wait; None where it is looked at."""
    try:
        throttle.check(address, credential)
    except TooManyRequests as exc:
        return int(exc.headers["Retry-After"])
    return None


def exhaust(throttle: Throttle, address: str | None) -> None:
    for _ in range(BURST):
        assert is_slowed(throttle, address) is None
        throttle.failed(address)


def test_after_some_failures_one_is_let_through_every_few_seconds() -> None:
    clock = Clock()
    throttle = Throttle(clock)
    exhaust(throttle, CLIENT)
    assert is_slowed(throttle, CLIENT) == REFILL_SECONDS
    clock.now += REFILL_SECONDS - 1
    assert is_slowed(throttle, CLIENT) == 1
    clock.now += 1
    assert is_slowed(throttle, CLIENT) is None
    throttle.failed(CLIENT)
    assert is_slowed(throttle, CLIENT) == REFILL_SECONDS
    clock.now += BURST * REFILL_SECONDS
    exhaust(throttle, CLIENT)


def test_others_are_not_slowed_down() -> None:
    throttle = Throttle(Clock())
    exhaust(throttle, CLIENT)
    assert is_slowed(throttle, OTHER) is None


def test_what_was_good_lately_is_looked_at_from_there_too() -> None:
    throttle = Throttle(Clock())
    throttle.held(CLIENT, "good")
    exhaust(throttle, CLIENT)
    assert is_slowed(throttle, CLIENT, "good") is None
    assert is_slowed(throttle, CLIENT, "guess") is not None


def test_what_is_good_from_elsewhere_is_not_told_to_a_guesser() -> None:
    throttle = Throttle(Clock())
    throttle.held(OTHER, "good")
    exhaust(throttle, CLIENT)
    assert is_slowed(throttle, CLIENT, "good") is not None


@pytest.mark.parametrize(
    ("one", "another", "same"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:192.0.2.7", "::ffff:192.0.2.8", False),
        (None, "nonsense", True),
    ],
)
def test_a_network_of_one_customer_counts_as_one(one: str | None, another: str | None, same: bool) -> None:
    throttle = Throttle(Clock())
    exhaust(throttle, one)
    assert (is_slowed(throttle, another) is not None) is same


def test_its_memory_is_bounded() -> None:
    throttle = Throttle(Clock())
    for number in range(MAX_ADDRESSES + 100):
        throttle.failed(f"10.{number >> 16}.{(number >> 8) & 255}.{number & 255}")
        throttle.held(None, str(number))
    assert len(throttle._full_at) == len(throttle._known) == MAX_ADDRESSES


@pytest.fixture
async def gateway(database_url: str) -> AsyncIterator[Gateway]:
    config = attrs.evolve(
        QUICK,
        identity=IdentityConfig(modes=("tokens", "proxy"), proxy_addresses=("127.0.0.1",), allowed_hosts=("h",)),
        metrics=MetricsConfig(token="the-scrapers-own"),
    )
    async with GatewayProcess(database_url, config).run() as running:
        yield running


async def test_a_guesser_is_told_to_wait_and_a_known_token_still_works(gateway: Gateway, commands: Any) -> None:
    good, unused = (
        {"Authorization": f"Bearer {commands.json('create', '--user', 'alice')['token']}"} for _ in range(2)
    )

    async def ask(headers: dict[str, str], path: str = "/api/projects", client: str = CLIENT) -> Answer:
        return await gateway.call("GET", path, headers={**headers, "X-Forwarded-For": client})

    assert (await ask(good)).status == 200
    for number in range(BURST):
        assert (await ask({"Authorization": f"Bearer acpgw_{number}"})).status == 401
    refused = await ask({"Authorization": "Bearer acpgw_x"})
    assert (refused.status, refused.json["code"]) == (429, "too_many_requests")
    assert 1 <= int(refused.headers["Retry-After"]) <= REFILL_SECONDS
    # Not even whether it holds is told.
    assert (await ask(unused)).status == 429
    assert (await ask(good)).status == 200
    assert (await ask(unused, client=OTHER)).status == 200
    # A stream is never answered 429: its client would never come back.
    stream = await ask({"Authorization": "Bearer acpgw_x"}, "/api/projects/demo/acp/events")
    assert stream.status == 200
    assert b"retry:" in stream.body


async def test_who_shows_nothing_is_not_slowed_down(gateway: Gateway) -> None:
    answers = await asyncio.gather(*(gateway.call("GET", "/api/projects") for _ in range(3 * BURST)))
    assert {answer.status for answer in answers} == {401}


#: A guess at the secret that each public route takes.
GUESSES = {
    "/metrics": "/metrics",
    "/api/oauth/callback/{provider_id}": "/api/oauth/callback/example?code=c&state={guess}",
    "/api/projects/{project_id}/acp/agents/{agent_id}/auth/callback": (
        "/api/projects/demo/acp/agents/demo/auth/callback?code=c&state={guess}"
    ),
    "/api/oauth/login/{ticket}": "/api/oauth/login/{guess}",
    "/api/sign-in": "/api/sign-in",
}
#: Public routes that take no secret.
OPEN = {
    "/healthz",
    "/readyz",
    "/openapi.json",
    "/docs",
    "/docs/{name}",
    "/",
    "/console",
    "/console/{path:.*}",
    "/api/oauth/problem/{code}",
}
_CLIENTS = (f"198.51.100.{number}" for number in count(1))


GUESSED = [(one.method, one.path) for one in ENDPOINTS if one.is_public and one.path not in OPEN]


def test_each_public_route_says_here_whether_it_takes_a_secret() -> None:
    assert {path for _, path in GUESSED} <= set(GUESSES)


async def test_whoever_guesses_at_the_secret_of_a_public_route_is_slowed_down(gateway: Gateway) -> None:
    for method, path in GUESSED:
        client = next(_CLIENTS)

        async def guess(text: str, client: str = client, method: str = method, path: str = path) -> Answer:
            given = {"Authorization": f"Bearer {text}"} if path == "/metrics" else {}
            body = None
            if path == "/api/sign-in":
                body = json.dumps({"link": text}).encode()
            elif method == "POST":
                body, given["Content-Type"] = b"answer=yes", "application/x-www-form-urlencoded"
            address = GUESSES[path].format(guess=text)
            return await gateway.call(method, address, raw=body, headers={**given, "X-Forwarded-For": client})

        assert 429 not in {(await guess(f"guess-{number}")).status for number in range(BURST)}, path
        refused = await guess("guess")
        assert (refused.status, refused.json["code"]) == (429, "too_many_requests"), path
        assert 1 <= int(refused.headers["Retry-After"]) <= REFILL_SECONDS
        if path == "/metrics":
            # Not even the right one is looked at, from there.
            assert (await guess("the-scrapers-own")).status == 429
            assert (await guess("the-scrapers-own", client=next(_CLIENTS))).status == 200


@pytest.mark.parametrize(
    ("query", "header"),
    [
        ("", {"Authorization": "Bearer acpgw_{guess}"}),
        ("?ticket={guess}", {}),
        ("", {"Cookie": f"{StreamOf.events('demo', None).cookie}={{guess}}"}),
    ],
    ids=["token", "ticket", "cookie"],
)
async def test_guesses_on_a_stream_count_as_well(gateway: Gateway, query: str, header: dict[str, str]) -> None:
    _, token = await Tokens(gateway.app[DATABASE]).create(NewToken(user_id="alice"))
    for number in range(BURST):
        guess = {name: value.format(guess=number) for name, value in header.items()}
        path = f"/api/projects/demo/acp/events{query.format(guess=number)}"
        assert (await gateway.call("GET", path, headers={**guess, "X-Forwarded-For": CLIENT})).status == 401
    good = {"Authorization": f"Bearer {token}", "X-Forwarded-For": CLIENT}
    assert (await gateway.call("GET", "/api/projects", headers=good)).status == 429
