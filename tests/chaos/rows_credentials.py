"""Rows 29 and 30: many need one credential renewed at once, and a provider rotates a token whose answer is lost."""

import asyncio
import json
import secrets
import time
from collections import Counter
from typing import Any

import aiohttp
from aiohttp import web

from gateway.credentials.keyring import Key
from tests.chaos.container import CAPABILITIES, ChaosContainer
from tests.chaos.processes import GatewayServer, query
from tests.chaos.scenario import ACP, World, row
from tests.fakes.provider import Carried, FakeProvider

REQUESTS = 20
#: In the words of a person's credential: connected, and to be connected again.
AUTHORIZED, NEEDS_REAUTH = "authorized", "needs_reauth"
#: How an operator's agent takes such a token.
WAY = '[[ways]]\nagent = "demo"\ntoken_type = "oauth"\nenv = { DEMO_TOKEN = "{token}" }\n'


class BorrowingContainer(ChaosContainer):
    """Each of its sessions has an id of its own, and runs with the token that it is given."""

    def __init__(self) -> None:
        super().__init__()
        #: How many sessions were begun with each token.
        self.tokens: Counter[str] = Counter()

    async def _info(self, _: web.Request) -> web.Response:
        data = {"name": "chaos", "version": "1", "bootId": self._boot, "capabilities": [*CAPABILITIES, "session-env"]}
        return web.json_response({"success": True, "data": data})

    async def _create(self, request: web.Request) -> web.Response:
        token = (await request.json()).get("env", {}).get("DEMO_TOKEN")
        self.tokens[token] += 1
        session_id = secrets.token_hex(8)
        self.session_id = self.session_id or session_id
        data = {"id": session_id, "agentId": "demo", "status": "active", "createdAt": "2026-01-01"}
        return web.json_response({"success": True, "data": data})


@row(29, "20 requests need a refresh of one credential at once, on two replicas")
async def need_one_refresh(world: World) -> None:
    container, provider = await _begin(world)
    for number in range(1, 2 if world.short else 6):
        await _let_it_end_soon(world)
        before = Counter(container.tokens)
        world.fault(f"{REQUESTS} requests at once need a credential that is due, on two replicas")
        answers = await asyncio.gather(*(_begin_session(world.gateways[one % 2]) for one in range(REQUESTS)))
        statuses = Counter(status for status, _ in answers)
        world.expect(statuses == {201: REQUESTS}, f"sessions were answered {statuses}: {answers[0][1]}")
        refreshes = len(provider.calls_of("token", grant_type="refresh_token"))
        world.expect(refreshes == number, f"the provider was asked {refreshes} times in {number} rounds")
        given = container.tokens - before
        world.expect(len(given) == 1, f"sessions were begun with {len(given)} tokens")
    world.note(f"{number * REQUESTS} requests on two replicas, {refreshes} refreshes at the provider")
    await world.next_event(time.monotonic())


@row(30, "the provider rotates the refresh token and the answer is lost", slow=True)
async def lose_a_rotation(world: World) -> None:
    container, provider = await _begin(world)
    await _let_it_end_soon(world, seconds=1)
    provider.answers["token"].append(Carried())
    world.fault("the provider renews a credential, and the answer is lost")
    asked_at = time.monotonic()
    refused: Any = None
    while refused is None and time.monotonic() < asked_at + 60:
        status, said = await _begin_session(world.rng.choice(world.gateways))
        # Until it is known to be over, the old one is used as long as it holds, and then nothing can be said yet.
        world.expect(status in (201, 401, 503), f"a session was answered {status}: {said}")
        refused = said if status == 401 else None
        await asyncio.sleep(0.25)
    world.note(f"a person was told {time.monotonic() - asked_at:.1f} s after the answer was lost")
    world.expect(refused is not None, "nobody was told within 60 s")
    world.expect("lost" in str(refused), f"the reason is not told: {refused}")
    world.expect(await _state(world) == NEEDS_REAUTH, f"the credential is {await _state(world)}")
    asked = len(provider.calls_of("token", grant_type="refresh_token"))
    world.expect(asked == 2, f"the provider was asked {asked} times before it was over")
    for _ in range(4 if world.short else 24):
        answers = [await _begin_session(gateway) for gateway in world.gateways]
        world.expect([status for status, _ in answers] == [401, 401], f"sessions were answered {answers}")
        await asyncio.sleep(0.5)
    again = len(provider.calls_of("token", grant_type="refresh_token"))
    world.expect(again == asked, f"the provider was asked {again - asked} times more")
    await _connect(world, provider)
    status, said = await _begin_session(world.gateways[0])
    world.expect(status == 201, f"with the account connected again a session was answered {status}: {said}")
    world.expect(sum(container.tokens.values()) > 1, "no session has got a token")
    await world.next_event(time.monotonic())


async def _begin(world: World) -> tuple[BorrowingContainer, FakeProvider]:
    """Two gateways in front of an agent that runs with a person's account, which is connected; events flow."""
    container = world.container = BorrowingContainer()
    await container.start()
    world.stack.push_async_callback(container.stop)
    provider = await world.stack.enter_async_context(FakeProvider())
    world.database_url = await asyncio.to_thread(world.postgres.create_database)
    config, ways = world.directory / "config.toml", world.directory / "ways.toml"
    table = "\n".join(f"{name} = {json.dumps(value)}" for name, value in provider.table(agents=["demo"]).items())
    config.write_text(f"[oauth]\nallow_http_loopback = true\ntimeout = 3.0\n[providers.example]\n{table}\n")
    ways.write_text(WAY)
    settings = {
        "ACP_GATEWAY_VAULT_KEYS": Key.make().line(),
        "ACP_GATEWAY_CREDENTIALS_CATALOGUE": str(ways),
    }
    for _ in range(2):
        options = ("--config", str(config))
        server = GatewayServer(world.database_url, world.directory, settings=settings, options=options)
        await world.add_gateway(server)
    await world.call("POST", "/api/projects", _project(container.port))
    await _connect(world, provider)
    world.session_id = (await world.call("POST", f"{ACP}/session", {"agentId": "demo"}))["id"]
    await world.add_clients(10)
    container.emit_at(50)
    return container, provider


def _project(port: int) -> dict[str, Any]:
    return {"id": ACP.split("/")[3], "containerUrl": "http://127.0.0.1:4096", "acpUrl": f"http://127.0.0.1:{port}"}


async def _connect(world: World, provider: FakeProvider) -> None:
    """Somebody logs in at the provider, in a browser."""
    begun = await world.call("POST", f"{ACP}/agents/demo/auth/start", {"flow": "pkce"})
    async with aiohttp.ClientSession() as browser, browser.get(provider.log_in(begun["authorizeUrl"])) as page:
        assert page.status == 200, await page.text()
    state = await _state(world)
    assert state == AUTHORIZED, state


async def _state(world: World) -> str:
    state: str = (await world.call("GET", f"{ACP}/agents/demo/auth/status"))["state"]
    return state


async def _let_it_end_soon(world: World, seconds: int = 20) -> None:
    """It was given an hour ago: as near to its end as this, any request renews it."""
    statement = (
        "update agent_auth_tokens set updated_at = now() - interval '1 hour', "
        "expires_at = now() + make_interval(secs => %s)"
    )
    await asyncio.to_thread(query, world.database_url, statement, seconds)


async def _begin_session(gateway: GatewayServer) -> tuple[int, Any]:
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{gateway.url}{ACP}/session", json={"agentId": "demo"}) as answer,
    ):
        return answer.status, await answer.json(content_type=None)
