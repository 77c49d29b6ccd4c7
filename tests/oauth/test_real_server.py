"""The whole login through a real OAuth server, which knows nothing of us."""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import aiohttp
import attrs
import pytest

from gateway.config.schema import IdentityConfig
from gateway.credentials.room import CREDENTIALS
from gateway.errors import ReauthRequired
from gateway.wire.times import parse_timestamp
from tests.clients.browser import browser
from tests.fakes.container import FakeContainer
from tests.fakes.provider import FakeProvider
from tests.oauth.conftest import with_providers
from tests.oauth.person import Person
from tests.oauth.real_server import real_server, table, walking
from tests.world import QUICK, GatewayProcess, Project


@pytest.fixture
async def issuer(oidc_provider_packages: Path) -> AsyncIterator[str]:
    async with real_server(oidc_provider_packages) as running:
        yield running


@pytest.fixture
async def person(
    database_url: str, issuer: str, provider: FakeProvider, base_container: FakeContainer
) -> AsyncIterator[Person]:
    """Somebody with a project, whose gateway knows the real server."""
    async with GatewayProcess(database_url, with_providers(real=table(issuer))).run() as gateway:
        yield Person(await gateway.register(base_container.url), provider)


async def log_in(person: Person, **body: Any) -> str:
    """The login in the browser, to its last page."""
    begun = await person.start(flow="pkce", **body)
    async with walking() as walker:
        await walker.go_to(begun["authorizeUrl"])
        await walker.log_in()
        assert not urlsplit(walker.url).query
        return walker.text


async def test_a_login_in_the_browser_connects_the_account(person: Person, issuer: str) -> None:
    began = time.monotonic()
    begun = await person.start()
    assert begun["authorizeUrl"].startswith(f"{issuer}/auth?")
    asked = dict(parse_qsl(urlsplit(begun["authorizeUrl"]).query))
    assert asked["code_challenge_method"] == "S256"
    async with walking() as walker:
        await walker.go_to(begun["authorizeUrl"])
        await walker.log_in()
        assert "real is connected" in walker.text
    status = await person.status()
    assert status["state"] == "authorized"
    assert status["credential"]["subject"] == "ada"
    assert set(status["credential"]["scopes"]) == {"openid", "offline_access"}
    assert status["credential"]["renewable"] is True
    access, refresh = await person.secrets() or ("", "")
    assert await whose(issuer, access) == "ada"
    assert refresh
    assert time.monotonic() - began < 30


async def test_a_real_browser_goes_all_the_way(person: Person, chromium: Path, tmp_path: Path) -> None:
    begun = await person.start(flow="pkce")
    async with asyncio.timeout(100), browser(chromium, tmp_path) as page:
        await page.evaluate(f"location.href = {begun['authorizeUrl']!r}")
        await page.until("document.querySelector('input[name=login]') !== null")
        await page.evaluate(
            "document.querySelector('input[name=login]').value = 'ada';"
            "document.querySelector('input[name=password]').value = 'any';"
            "document.querySelector('form').submit()"
        )
        await page.until("document.querySelector('input[name=prompt][value=consent]') !== null")
        await page.evaluate("document.querySelector('form').submit()")
        await page.until("document.title === 'real is connected'")
        assert await page.evaluate("location.search + location.hash") == ""
        assert "/api/oauth/login/" in await page.evaluate("location.pathname")
        assert await page.evaluate("document.referrer") == ""
    assert await person.state() == "authorized"


async def test_a_browser_that_nobody_knows_is_asked_whose_login_it_is(
    database_url: str,
    issuer: str,
    provider: FakeProvider,
    base_container: FakeContainer,
    chromium: Path,
    tmp_path: Path,
) -> None:
    identity = IdentityConfig(modes=("proxy",), proxy_addresses=("127.0.0.1",))
    config = with_providers(attrs.evolve(QUICK, identity=identity), real=table(issuer))
    async with GatewayProcess(database_url, config).run() as gateway:
        gateway.http.headers["X-Forwarded-User"] = "ada"
        person = Person(await gateway.register(base_container.url), provider)
        begun = await person.start(flow="pkce")
        async with asyncio.timeout(100), browser(chromium, tmp_path) as page:
            await page.evaluate(f"location.href = {begun['authorizeUrl']!r}")
            await page.until("document.querySelector('input[name=login]') !== null")
            await page.evaluate(
                "document.querySelector('input[name=login]').value = 'ada';"
                "document.querySelector('input[name=password]').value = 'any';"
                "document.querySelector('form').submit()"
            )
            await page.until("document.querySelector('input[name=prompt][value=consent]') !== null")
            await page.evaluate("document.querySelector('form').submit()")
            await page.until("document.title === 'Is this your login?'")
            assert "the user ada" in re.sub(r"\s+", " ", await page.evaluate("document.body.innerText"))
            assert (await person.status())["credential"] is None
            await page.evaluate("document.querySelector('button[value=yes]').click()")
            await page.until("document.title === 'real is connected'")
        assert await person.state() == "authorized"


async def test_declining_at_the_provider_is_told(person: Person) -> None:
    begun = await person.start(flow="pkce")
    async with walking() as walker:
        await walker.go_to(begun["authorizeUrl"])
        abort = re.search(r"href=\"([^\"]*abort)\"", walker.text)
        assert abort is not None
        await walker.go_to(f"{person_origin(begun)}{urlsplit(abort[1]).path}")
        assert "The login was declined at the provider." in walker.text
    assert await person.state() == "denied"


async def test_a_code_is_good_once(person: Person) -> None:
    begun = await person.start(flow="pkce")
    async with walking() as walker:
        await walker.go_to(
            begun["authorizeUrl"].replace("%2Fapi%2Foauth%2Fcallback%2Freal", "%2Fnobody-listens%2Fcallback")
        )
        await walker.log_in()
        back = walker.url
    # It was made for another address than the one that the login is bound to.
    answer = await person.paste(back)
    assert (answer.status, answer.json["code"]) == (400, "login_refused")
    assert (await person.paste(back)).json["code"] == "login_unknown"


async def test_what_the_browser_ended_with_can_be_pasted(
    database_url: str, issuer: str, provider: FakeProvider, base_container: FakeContainer
) -> None:
    paste = {"redirect_mode": "loopback_paste", "redirect_uri": "http://127.0.0.1:1/nobody-listens/callback"}
    async with GatewayProcess(database_url, with_providers(real=table(issuer, **paste))).run() as gateway:
        person = Person(await gateway.register(base_container.url), provider)
        begun = await person.start(flow="pkce")
        async with walking() as walker:
            await walker.go_to(begun["authorizeUrl"])
            await walker.log_in()
            back = walker.url
        # RFC 9207: it says who it is, so an answer that does not is not used.
        code = dict(parse_qsl(urlsplit(back).query))
        assert (await person.paste(f"{code['code']}#{code['state']}")).json["code"] == "login_issuer_mismatch"
        begun = await person.start(flow="pkce")
        async with walking() as walker:
            await walker.go_to(begun["authorizeUrl"])
            await walker.log_in()
            answer = await person.paste(walker.url)
        assert (answer.status, answer.json["state"]) == (200, "authorized")


async def test_a_login_with_a_code_connects_the_account(person: Person, issuer: str) -> None:
    begun = await person.start(flow="device")
    assert begun["verificationUri"] == f"{issuer}/device"
    async with walking() as walker:
        await walker.enter_code(begun["verificationUriComplete"])
        await walker.submit()
        await walker.log_in()
    await person.becomes("authorized")
    access, _ = await person.secrets() or ("", "")
    assert await whose(issuer, access) == "ada"


async def test_a_login_with_a_code_that_is_aborted_is_told(person: Person) -> None:
    begun = await person.start(flow="device")
    async with walking() as walker:
        await walker.enter_code(begun["verificationUriComplete"])
        await walker.submit(abort="yes")
    await person.becomes("denied")


async def test_a_code_that_nobody_enters_expires(
    database_url: str, oidc_provider_packages: Path, provider: FakeProvider, base_container: FakeContainer
) -> None:
    async with (
        real_server(oidc_provider_packages, device_seconds=7) as issuer,
        GatewayProcess(database_url, with_providers(real=table(issuer))).run() as gateway,
    ):
        person = Person(await gateway.register(base_container.url), provider)
        await person.start(flow="device")
        status = await person.becomes("expired")
        assert status["login"]["code"] == "login_expired"


async def test_tokens_rotate_and_go_on_rotating(person: Person, issuer: str) -> None:
    await log_in(person)
    seen = {await person.secrets()}
    for _ in range(3):
        person.age(expires_in=1)
        token = await person.fresh()
        seen.add(await person.secrets())
        assert token.expires_at is not None
        assert person.seconds_until(str(token.expires_at)) > 3000
    assert len(seen) == 4
    access, _ = await person.secrets() or ("", "")
    assert await whose(issuer, access) == "ada"


async def test_eight_who_need_it_at_once_over_two_gateways_lose_nothing(
    person: Person, database_url: str, issuer: str
) -> None:
    await log_in(person)
    async with GatewayProcess(database_url, with_providers(real=table(issuer))).run() as second:
        other = Person(Project(second, "demo"), person.provider)
        for _ in range(3):
            person.age(expires_in=1)
            tokens = await asyncio.gather(*(one.fresh() for one in (person, other) for _ in range(4)))
            assert len({token.version for token in tokens}) == 1
    # Had it been used twice, the server would have ended all of it.
    person.age(expires_in=1)
    await person.fresh()
    assert await person.state() == "authorized"


async def test_without_the_lease_the_same_server_ends_it(person: Person, issuer: str) -> None:
    await log_in(person)
    _, refresh = await person.secrets() or ("", "")
    form = {"grant_type": "refresh_token", "refresh_token": refresh or "", "client_id": "public"}
    async with aiohttp.ClientSession() as http:
        answers = await asyncio.gather(*(http.post(f"{issuer}/token", data=form) for _ in range(4)))
        statuses = sorted(answer.status for answer in answers)
        for answer in answers:
            answer.release()
    assert statuses == [200, 400, 400, 400]
    person.age(expires_in=1)
    with pytest.raises(ReauthRequired):
        await person.fresh()
    status = await person.status()
    assert status["state"] == "needs_reauth"
    assert "is connected" in await log_in(person)
    assert await person.state() == "authorized"


async def test_an_account_that_is_taken_away_is_over_at_the_server(person: Person, issuer: str) -> None:
    await log_in(person)
    access, refresh = await person.secrets() or ("", "")
    answer = await person.call("DELETE", "")
    assert answer.json["revocation"]["outcome"] == "revoked"
    assert await whose(issuer, access) is None
    form = {"grant_type": "refresh_token", "refresh_token": refresh or "", "client_id": "public"}
    async with aiohttp.ClientSession() as http, http.post(f"{issuer}/token", data=form) as response:
        assert (await response.json())["error"] == "invalid_grant"


async def test_a_client_with_a_secret_shows_it_as_the_server_wants_it(
    database_url: str, issuer: str, provider: FakeProvider, base_container: FakeContainer
) -> None:
    secret = table(issuer, client_id="confidential", client_secret="a secret & more", client_auth="basic")
    async with GatewayProcess(database_url, with_providers(secret=secret)).run() as gateway:
        person = Person(await gateway.register(base_container.url), provider)
        assert "secret is connected" in await log_in(person)
        person.age(expires_in=1)
        await person.fresh()
        assert (await person.call("DELETE", "")).json["revocation"]["outcome"] == "revoked"


async def test_what_ends_soon_is_renewed_without_anybody_asking(
    database_url: str,
    oidc_provider_packages: Path,
    provider: FakeProvider,
    base_container: FakeContainer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateway.oauth.refresh.REVIEW_SECONDS", 0.2)
    async with (
        real_server(oidc_provider_packages, access_token_seconds=14) as issuer,
        GatewayProcess(database_url, with_providers(real=table(issuer))).run() as gateway,
    ):
        person = Person(await gateway.register(base_container.url), provider)
        await log_in(person)
        first = await gateway.app[CREDENTIALS].store.get_agent_auth_token("local", "demo")
        assert first is not None
        versions = {first.version}
        async with asyncio.timeout(60):
            while len(versions) < 3:
                await asyncio.sleep(0.2)
                now = await gateway.app[CREDENTIALS].store.get_agent_auth_token("local", "demo")
                assert now is not None
                assert now.expires_at is not None
                assert person.seconds_until(now.expires_at.isoformat()) > 0
                versions.add(now.version)
        renewed = [data for name, data in await person.told() if name == "credential_renewed"]
        assert len(renewed) >= 2
        assert all(parse_timestamp(data["expiresAt"]) for data in renewed)


def person_origin(begun: dict[str, Any]) -> str:
    parts = urlsplit(begun["authorizeUrl"])
    return f"{parts.scheme}://{parts.netloc}"


async def whose(issuer: str, access_token: str) -> str | None:
    """Whom the server takes the bearer of a token for."""
    headers = {"Authorization": f"Bearer {access_token}"}
    async with aiohttp.ClientSession() as http, http.get(f"{issuer}/me", headers=headers) as response:
        return (await response.json())["sub"] if response.status == 200 else None
