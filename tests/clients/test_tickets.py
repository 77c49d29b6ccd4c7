"""A real browser that has a token: it opens a stream by a ticket, and comes back to it by a cookie."""

import asyncio
import json
from pathlib import Path

import attrs

from gateway.config.schema import IdentityConfig
from gateway.db.pool import Database
from gateway.identity.tokens import NewToken, Tokens
from gateway.stream.room import STREAMS
from tests.clients.browser import browser
from tests.fakes.container import FakeContainer
from tests.world import QUICK, Gateway, GatewayProcess

TOKENS = attrs.evolve(QUICK, identity=IdentityConfig(modes=("tokens",)))
GET_TICKET = """
    fetch(%s, {method: "POST", headers: {Authorization: %s, "Content-Type": "application/json"}, body: "{}"})
        .then((answer) => answer.json()).then((got) => got.url)
"""


async def test_a_page_comes_back_to_its_stream_time_and_again_by_its_cookie(
    database: Database, database_url: str, tmp_path: Path, base_container: FakeContainer, chromium: Path
) -> None:
    _, token = await Tokens(database).create(NewToken(user_id="alice"))
    async with (
        asyncio.timeout(110),
        GatewayProcess(database_url, TOKENS).run() as gateway,
        browser(chromium, tmp_path) as page,
    ):
        project = await gateway.sending(Authorization=f"Bearer {token}").register(base_container.url)
        session = await project.create_session()
        await page.go_to(gateway.url + "/console")
        asked = json.dumps(f"{project.acp}/events/ticket"), json.dumps(f"Bearer {token}")
        url = await page.evaluate(GET_TICKET % asked)
        async with page.listening("page", url, ("turn_started",)) as listener:
            await page.until("opened === 1")
            for number in range(1, 6):
                # The URL that the browser repeats has a ticket that is used up.
                break_off(gateway)
                await page.until(f"opened === {number + 1}")
                turn = await project.prompt(session, f"say {number}")
                async with asyncio.timeout(20):
                    await listener.until("turn_started", number)
                assert turn["turnId"] in listener.received[-1].data
            assert listener.ended is None
        assert await page.evaluate("document.cookie") == ""
        other = await page.evaluate(f"fetch({json.dumps(project.acp + '/session')}).then((answer) => answer.status)")
        assert other == 401


def break_off(gateway: Gateway) -> None:
    for stream in list(gateway.app[STREAMS].streams._open):
        stream.transport.abort()
