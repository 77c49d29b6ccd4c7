"""Who may bring a login to its end, and that it has one end only, whoever is quicker."""

import asyncio
from typing import Any

import attrs
import psycopg2
import pytest

from gateway.config.schema import IdentityConfig
from gateway.credentials.room import CREDENTIALS
from gateway.errors import LoginSuperseded
from gateway.identity.tokens import NewToken, Tokens
from gateway.oauth.pending import EXCHANGING
from gateway.oauth.protocol.outcomes import Granted
from gateway.oauth.room import OAUTH
from gateway.web.keys import CONFIG, DATABASE
from tests.fakes.container import FakeContainer
from tests.fakes.eventually import eventually, until
from tests.fakes.provider import FakeProvider
from tests.oauth.conftest import Running
from tests.oauth.person import Person
from tests.world import QUICK, Gateway

SHARED = attrs.evolve(
    QUICK,
    identity=IdentityConfig(modes=("local", "tokens")),
    containers=attrs.evolve(QUICK.containers, shared=True),
)
#: As another gateway does it, when the person begins another login there.
SUPERSEDE = "update pending_logins set state = 'superseded', ended_at = clock_timestamp() where state = 'exchanging'"
WAITING = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"


async def with_token(gateway: Gateway, user_id: str) -> Gateway:
    """The gateway, for a program of the user's."""
    _, text = await Tokens(gateway.app[DATABASE]).create(NewToken(user_id=user_id))
    return gateway.sending(Authorization=f"Bearer {text}")


async def test_a_browser_on_this_machine_is_asked_whether_a_token_users_login_is_its_own(
    run_gateway: Running, provider: FakeProvider, base_container: FakeContainer
) -> None:
    async with run_gateway(SHARED) as gateway:
        ann = Person(await (await with_token(gateway, "ann")).register(base_container.url), provider)
        begun = await ann.start(flow="pkce")
        browser = Person(await gateway.register(base_container.url, "local"), provider)
        page = await browser.browse(provider.log_in(begun["authorizeUrl"]))
        assert "Is this your login?" in page.text
        assert "ann" in page.text
        assert await ann.state() == "pending"
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        path = page.url.removeprefix(gateway.url)
        assert (await gateway.call("POST", path, raw=b"answer=yes", headers=form)).status == 303
        assert await ann.state() == "authorized"
        assert await gateway.app[CREDENTIALS].store.get_agent_auth_token("local", "demo") is None


async def test_a_browser_on_this_machine_completes_the_local_users_login_at_once(
    run_gateway: Running, provider: FakeProvider, base_container: FakeContainer
) -> None:
    async with run_gateway(SHARED) as gateway:
        person = Person(await gateway.register(base_container.url), provider)
        assert "Example is connected" in (await person.log_in()).text
        assert await person.state() == "authorized"


async def test_a_login_that_a_browser_completes_is_in_the_audit_of_its_project(
    run_gateway: Running, provider: FakeProvider, base_container: FakeContainer
) -> None:
    async with run_gateway(SHARED) as gateway:
        local = Person(await gateway.register(base_container.url, "local"), provider)
        ann = Person(await (await with_token(gateway, "ann")).register(base_container.url, "anns"), provider)
        await local.log_in()
        assert await newest(local) == ("local", "GET /api/oauth/callback/example", "done", 303)
        # A browser that nobody knows: it brings the code, and then its person says so, or not.
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        for word in ("no", "yes"):
            page = await local.browse(provider.log_in((await ann.start(flow="pkce"))["authorizeUrl"]))
            assert await newest(ann) == ("ann", "GET /api/oauth/callback/example", "done", 303)
            path = page.url.removeprefix(gateway.url)
            assert (await gateway.call("POST", path, raw=f"answer={word}".encode(), headers=form)).status == 303
            assert await newest(ann) == ("ann", "POST /api/oauth/login/***", "done", 303)
        # What changes nothing is not noted.
        before = await newest(ann)
        assert (await gateway.call("POST", path, raw=b"answer=yes", headers=form)).status == 303
        assert (await gateway.call("GET", "/api/oauth/callback/example?state=unknown&code=x")).status == 303
        assert await newest(ann) == before


async def newest(person: Person) -> tuple[str, str, str, int]:
    """The audit's last entry."""
    answer = await person.gateway.call("GET", f"{person.project.path}/audit?limit=1")
    [entry] = answer.json["entries"]
    return entry["userId"], f"{entry['method']} {entry['path']}", entry["outcome"], entry["status"]


async def test_a_browser_that_shows_a_token_is_known_beside_local(
    run_gateway: Running, provider: FakeProvider, base_container: FakeContainer
) -> None:
    async with run_gateway(SHARED) as gateway:
        ann = Person(await (await with_token(gateway, "ann")).register(base_container.url), provider)
        bob = Person(await (await with_token(gateway, "bob")).register(base_container.url, "bob"), provider)
        back = provider.log_in((await ann.start(flow="pkce"))["authorizeUrl"])
        assert "not completed" in (await bob.browse(back)).text
        assert "Example is connected" in (await ann.browse(back)).text


async def test_a_login_that_is_superseded_while_its_tokens_are_stored_stores_none_and_gives_them_back(
    person: Person,
) -> None:
    other = psycopg2.connect(person.gateway.app[CONFIG].database.url)

    async def superseded_elsewhere(_: dict[str, Any]) -> Any:
        with other.cursor() as cursor:
            cursor.execute(SUPERSEDE)
        return person.provider.granted(access_token="unwanted")

    async def waits() -> bool:
        return person.rows(WAITING) != [(0,)]

    try:
        person.provider.answers["token"] = [superseded_elsewhere]
        begun = await person.start(flow="pkce")
        pasting = asyncio.create_task(person.paste(person.provider.log_in(begun["authorizeUrl"])))
        await until(waits)
        other.commit()
        answer = await pasting
    finally:
        other.close()
    assert (answer.status, answer.json["code"]) == (409, "login_superseded")
    assert (await person.status())["credential"] is None
    await eventually(lambda: "unwanted" in person.provider.revoked)


async def test_storing_a_logins_tokens_again_changes_nothing(person: Person) -> None:
    """As after a commit of which nobody has heard."""
    await person.start(flow="pkce")
    logins, provider = person.gateway.app[OAUTH].logins, person.gateway.app[OAUTH].providers.get("example")
    pending = await logins.pending.newest("local", "demo")
    assert pending is not None
    assert provider is not None
    taken = await logins.pending.take(pending, EXCHANGING)
    assert taken is not None
    granted = Granted(access_token="access-1", refresh_token="refresh-1")
    first, second = [await logins.finish(taken, granted, provider) for _ in range(2)]
    assert first.version == second.version
    assert person.provider.calls_of("revoke") == []
    with pytest.raises(LoginSuperseded):
        await logins.finish(taken, attrs.evolve(granted, access_token="access-2"), provider)
    await eventually(lambda: "access-2" in person.provider.revoked)
    assert await person.secrets() == ("access-1", "refresh-1")
