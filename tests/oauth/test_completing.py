"""Who may bring a login to its end, and that it has one end only, whoever is quicker."""

import attrs

from gateway.config import IdentityConfig
from gateway.identity.tokens import NewToken, Tokens
from gateway.keys import CREDENTIALS, DATABASE
from tests.fakes.container import FakeContainer
from tests.fakes.provider import FakeProvider
from tests.oauth.conftest import Running
from tests.oauth.person import Person
from tests.world import QUICK, Gateway

SHARED = attrs.evolve(QUICK, identity=IdentityConfig(modes=("local", "tokens")))


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
        assert await gateway.app[CREDENTIALS].get_agent_auth_token("local", "demo") is None


async def test_a_browser_on_this_machine_completes_the_local_users_login_at_once(
    run_gateway: Running, provider: FakeProvider, base_container: FakeContainer
) -> None:
    async with run_gateway(SHARED) as gateway:
        person = Person(await gateway.register(base_container.url), provider)
        assert "Example is connected" in (await person.log_in()).text
        assert await person.state() == "authorized"


async def test_a_browser_that_shows_a_token_is_known_beside_local(
    run_gateway: Running, provider: FakeProvider, base_container: FakeContainer
) -> None:
    async with run_gateway(SHARED) as gateway:
        ann = Person(await (await with_token(gateway, "ann")).register(base_container.url), provider)
        bob = Person(await (await with_token(gateway, "bob")).register(base_container.url, "bob"), provider)
        back = provider.log_in((await ann.start(flow="pkce"))["authorizeUrl"])
        assert "not completed" in (await bob.browse(back)).text
        assert "Example is connected" in (await ann.browse(back)).text
