"""Connecting an account, by each way, through the gateway's own routes."""

import asyncio
import re
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import attrs
import pytest

from gateway.config.schema import IdentityConfig, ServerConfig
from gateway.credentials.room import CREDENTIALS
from gateway.identity.tokens import NewToken, Tokens
from gateway.web.keys import DATABASE
from tests.fakes.container import FakeContainer
from tests.fakes.eventually import eventually
from tests.fakes.provider import FakeProvider
from tests.oauth.conftest import Running
from tests.oauth.person import Person
from tests.world import QUICK, Project, data_of


def asked(url: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(url).query))


# In the browser.


async def test_a_login_in_the_browser_connects_the_account(person: Person) -> None:
    begun = await person.start()
    assert (begun["flow"], begun["provider"], begun["pasteBack"]) == ("pkce", "example", False)
    assert asked(begun["authorizeUrl"])["redirect_uri"] == f"{person.gateway.url}/api/oauth/callback/example"
    assert await person.state() == "pending"
    page = await person.browse(person.provider.log_in(begun["authorizeUrl"]))
    assert page.answer.status == 200
    assert "Example is connected" in page.text
    status = await person.status()
    assert status["state"] == "authorized"
    assert status["credential"]["scopes"] == ["read", "write"]
    assert status["credential"]["provider"] == "example"
    assert status["credential"]["expiresAt"] > begun["expiresAt"]
    assert await person.secrets() is not None
    [(connected, data)] = [entry for entry in await person.told() if entry[0].startswith(("credential", "login"))]
    assert connected == "credential_connected"
    assert (data["userId"], data["tokenType"], data["provider"]) == ("local", "oauth", "example")


async def test_the_page_has_no_secret_nothing_that_runs_and_sends_no_referrer(person: Person) -> None:
    begun = await person.start()
    back = person.provider.log_in(begun["authorizeUrl"])
    first = await person.gateway.call("GET", back.removeprefix(person.gateway.url))
    assert (first.status, first.body) == (303, b"")
    assert first.headers["Referrer-Policy"] == "no-referrer"
    assert "?" not in first.headers["Location"]
    page = await person.browse(person.provider.log_in((await person.start())["authorizeUrl"]))
    assert page.answer.headers["Referrer-Policy"] == "no-referrer"
    assert page.answer.headers["Cache-Control"] == "no-store"
    assert "default-src 'none'" in page.answer.headers["Content-Security-Policy"]
    assert "<script" not in page.answer.body.decode()
    assert not any(secret in page.answer.body.decode() for secret in filter(None, await person.secrets() or ()))


async def test_a_callback_of_the_agents_own_path_works_where_it_is_registered(
    run_gateway: Running, provider: FakeProvider, base_container: FakeContainer
) -> None:
    async with run_gateway(redirect_mode="project_callback") as gateway:
        person = Person(await gateway.register(base_container.url), provider)
        begun = await person.start()
        path = "/api/projects/demo/acp/agents/demo/auth/callback"
        assert asked(begun["authorizeUrl"])["redirect_uri"] == gateway.url + path
        page = await person.browse(provider.log_in(begun["authorizeUrl"]))
        assert "Example is connected" in page.text
        other = await person.start()
        moved = provider.log_in(other["authorizeUrl"]).replace("/agents/demo/", "/agents/claude-code/")
        assert "not completed" in (await person.browse(moved)).text
        assert await person.state() == "pending"


@pytest.mark.parametrize("method", ["HEAD", "GET"])
async def test_whoever_only_looks_completes_no_login(person: Person, method: str) -> None:
    begun = await person.start()
    back = person.provider.log_in(begun["authorizeUrl"]).removeprefix(person.gateway.url)
    headers = {"Sec-Purpose": "prefetch"} if method == "GET" else {}
    assert (await person.gateway.call(method, back, headers=headers)).status == 204
    assert await person.state() == "pending"
    assert "is connected" in (await person.browse(person.gateway.url + back)).text


@pytest.mark.parametrize("form", ["url", "code#state", "code"])
async def test_what_a_person_pastes_completes_their_login(
    run_gateway: Running, provider: FakeProvider, base_container: FakeContainer, form: str
) -> None:
    paste = {"redirect_mode": "loopback_paste", "redirect_uri": "http://localhost:1455/auth/callback"}
    async with run_gateway(**paste) as gateway:
        person = Person(await gateway.register(base_container.url), provider)
        begun = await person.start()
        assert begun["pasteBack"] is True
        back = provider.log_in(begun["authorizeUrl"])
        assert back.startswith("http://localhost:1455/auth/callback?")
        told = asked(back)
        pasted = {"url": back, "code#state": f" {told['code']}#\n{told['state']}\n", "code": told["code"]}[form]
        answer = await person.paste(pasted)
        assert (answer.status, answer.json["state"]) == (200, "authorized")


async def test_a_path_prefix_of_a_proxy_in_front_is_kept(
    run_gateway: Running, provider: FakeProvider, base_container: FakeContainer
) -> None:

    config = attrs.evolve(QUICK, server=ServerConfig(public_url="https://agents.example.org/acp"))
    async with run_gateway(config) as gateway:
        person = Person(await gateway.register(base_container.url), provider)
        begun = await person.start()
        back = provider.log_in(begun["authorizeUrl"])
        assert back.startswith("https://agents.example.org/acp/api/oauth/callback/example?")
        page = await person.browse(back.replace("https://agents.example.org/acp", gateway.url))
        assert "is connected" in page.text


# With a code.


async def test_a_login_with_a_code_connects_the_account_once_it_is_entered(person: Person) -> None:
    begun = await person.start(flow="device")
    assert re.fullmatch(r"[0-9A-F]{8}", begun["userCode"])
    assert (begun["interval"], begun["verificationUri"]) == (1, f"{person.provider.url}/enter")
    status = await person.status()
    assert (status["state"], status["login"]["userCode"]) == ("pending", begun["userCode"])
    person.provider.approve(begun["userCode"])
    status = await person.becomes("authorized")
    assert status["credential"]["tokenType"] == "oauth"
    assert "userCode" not in status["login"]


async def test_a_login_with_a_code_goes_on_after_the_gateway_has_been_started_anew(
    run_gateway: Running, provider: FakeProvider, base_container: FakeContainer
) -> None:
    async with run_gateway() as gateway:
        await Person(await gateway.register(base_container.url), provider).start(flow="device")
    provider.approve()
    async with run_gateway() as gateway:
        await Person(Project(gateway, "demo"), provider).becomes("authorized")


async def test_two_gateways_ask_about_one_login_as_often_as_one(
    run_gateway: Running, provider: FakeProvider, base_container: FakeContainer
) -> None:

    async with run_gateway() as first, run_gateway():
        person = Person(await first.register(base_container.url), provider)
        await person.start(flow="device")
        began = asyncio.get_running_loop().time()
        await eventually(lambda: len(provider.calls_of("token")) >= 4)
        # Four questions at a distance of a second each take three at least, whoever asks.
        assert asyncio.get_running_loop().time() - began >= 3
        provider.approve()
        await person.becomes("authorized")


# Keys and tokens.


@pytest.mark.parametrize(
    ("token", "token_type"), [("sk-ant-api03-abcdef", "api_key"), (" sk-ant-oat01-abcdef\n", "token")]
)
async def test_a_key_or_token_that_a_person_brings_is_kept_as_what_it_is(
    person: Person, token: str, token_type: str
) -> None:
    person.agent = "claude-code"
    answer = await person.call("POST", "/token", {"token": token})
    assert answer.status == 200
    assert (answer.json["state"], answer.json["credential"]["tokenType"]) == ("authorized", token_type)
    assert await person.secrets() == (token.strip(), None)
    assert token.strip() not in answer.body.decode()


@pytest.mark.parametrize(
    ("agent", "body", "said"),
    [
        ("claude-code", {"token": "sk-ant-oat01-x", "tokenType": "api_key"}, "this is a token of `claude setup-token`"),
        ("claude-code", {"token": "sk-ant-api03-x", "tokenType": "token"}, "this is an API key"),
        ("claude-code", {"token": "sk-ant api", "tokenType": "api_key"}, "has spaces"),
        ("claude-code", {"token": ""}, "must have 1 to"),
        ("claude-code", {"token": "x", "tokenType": "oauth"}, "takes api_key or token, and not what stands there"),
        (
            "copilot",
            {"token": "ghp_abc"},
            "a classic GitHub token, which copilot does not take; give a fine-grained GitHub",
        ),
        (
            "claude-code",
            {"token": "AIzaSyA-0123456789"},
            "this is an API key of Google, which claude-code does not take",
        ),
        ("codex", {"token": "sk-ant-api03-0123456789"}, "give an API key of the OpenAI platform (sk-…), or an access"),
        ("qwen-code", {"token": "acpgw_0123456789abcdef"}, "this is an API token of this gateway"),
        (
            "gemini",
            {"token": "banana"},
            "has 6 characters, and no key has fewer than 12. Copy all of an API key of Google",
        ),
        ("gemini", {"token": " 12345678\n"}, "has 8 characters"),
        ("gemini", {"token": "123456789-0123456789"}, "has no letters"),
        ("qwen-code", {"token": "sessionUpdate"}, "is a word or a name"),
        ("qwen-code", {"token": "agent_message_chunk"}, "is a word or a name"),
        ("qwen-code", {"token": "sk-0123***89abcdef"}, "has *** in it"),
        ("qwen-code", {"token": "sk-xxxxxxxxxxxxxxxxxxx"}, "the same few characters"),
        ("demo", {"token": "abc"}, "knows no API key and no token"),
    ],
)
async def test_what_the_agent_could_not_use_is_refused_with_what_would_be_right(
    person: Person, agent: str, body: dict[str, str], said: str
) -> None:
    person.agent = agent
    answer = await person.call("POST", "/token", body)
    assert (answer.status, answer.json["code"]) == (400, "credential_refused")
    assert said in answer.json["detail"]
    assert (await person.status())["credential"] is None


@pytest.mark.parametrize(
    ("agent", "token"),
    [
        ("claude-code", "sk-ant-api03-" + 93 * "aB3_" + "AA"),
        # One that a proxy of the operator's has made.
        ("claude-code", "sk-1234567890abcdefgh"),
        ("codex", "sk-proj-0123456789abcdefABCDEF"),
        ("codex", "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhbm4ifQ.c2lnbmF0dXJl"),
        ("gemini", "AIzaSyA0123456789abcdefghijklmnopqrstuv"),
        ("gemini", "AQ.Ab8RN6I0123456789abcdef"),
        ("qwen-code", "sk-0123456789abcdef0123456789abcdef"),
        ("copilot", "github_pat_11ABCDEFG0123456789_abcdefghijklmnop"),
        ("copilot", "gho_16C7e42F292c6912E7710c838347Ae178B4a"),
        ("mistral-vibe", "abcdefghijklmnopqrstuvwxyzABCDEF"),
        ("opencode", '{"anthropic": {"type": "api", "key": "sk-ant-api03-0123456789"}}'),
        ("auggie", '{"accessToken": "0123456789abcdef", "tenantURL": "https://e1.example/", "scopes": ["read"]}'),
    ],
)
async def test_no_key_of_a_provider_that_agents_take_is_refused(person: Person, agent: str, token: str) -> None:
    person.agent = agent
    answer = await person.call("POST", "/token", {"token": token})
    assert (answer.status, (await person.secrets() or "")[0]) == (200, token), answer.body


async def test_without_a_provider_a_login_says_what_to_bring_and_where(
    run_gateway: Running, provider: FakeProvider, base_container: FakeContainer
) -> None:
    async with run_gateway(enabled=False) as gateway:
        person = Person(await gateway.register(base_container.url), provider, agent="claude-code")
        begun = await person.start()
        assert begun == {
            "flow": "api_key",
            "tokenType": "api_key",
            "tokenUrl": "/api/projects/demo/acp/agents/claude-code/auth/token",
            "message": "Send an API key of the Claude console (sk-ant-api…) to "
            "/api/projects/demo/acp/agents/claude-code/auth/token.",
        }
        assert "setup-token" in (await person.start(flow="paste_token"))["message"]
        flows = [way["flow"] for way in (await person.status())["ways"]]
        assert flows == ["api_key", "paste_token", "agent"]


async def test_a_way_that_there_is_not_is_refused_with_those_that_there_are(person: Person) -> None:
    answer = await person.call("POST", "/start", {"flow": "device", "provider": "github"})
    assert (answer.status, answer.json["code"]) == (409, "no_login_here")
    assert "There are: pkce at example, device at example, agent." in answer.json["detail"]


# The agent's own.


async def test_the_agents_own_login_is_relayed_and_its_end_seen(person: Person, base_container: FakeContainer) -> None:
    person.agent = "locked"
    async with person.project.events() as stream:
        await base_container.wait_for_streams()
        begun = await person.start(flow="agent")
        assert (begun["authorizeUrl"], begun["userCode"]) == ("https://login.example/device", "WDJB-MJHT")
        assert "device-1" not in str(begun)
        assert await person.state() == "pending"
        # Who reads the project's events is not told how to log in.
        assert data_of((await stream.until("auth_required"))[-1]) == {"agentId": "locked"}
        assert not any(word in stream.raw for word in (b"WDJB-MJHT", b"login.example", b"device-1"))
    answer = await person.paste("what-the-page-showed")
    assert (answer.status, answer.json["state"]) == (200, "authorized")


# What one has.


async def test_credentials_are_listed_with_fingerprints_only(person: Person) -> None:
    await person.connected()
    listed = (await person.gateway.call("GET", "/api/credentials")).json["credentials"]
    assert [entry["agentId"] for entry in listed] == ["demo"]
    assert re.fullmatch(r"[0-9a-f]{8}", listed[0]["fingerprint"])
    assert listed[0]["renewable"] is True
    found = await person.secrets()
    assert found is not None
    assert not any(secret in str(listed) for secret in found if secret)


async def test_an_account_that_is_taken_away_is_over_at_its_provider_too(person: Person) -> None:
    await person.connected()
    access, refresh = await person.secrets() or ("", "")
    answer = await person.call("DELETE", "")
    assert answer.status == 200
    assert answer.json["deleted"] is True
    assert answer.json["revocation"]["outcome"] == "revoked"
    assert person.provider.revoked == {access, refresh}
    assert [call.members["token_type_hint"] for call in person.provider.calls_of("revoke")] == [
        "refresh_token",
        "access_token",
    ]
    assert await person.state() == "none"
    again = await person.call("DELETE", "")
    assert (again.status, again.json["deleted"]) == (200, False)
    assert "credential_disconnected" in [name for name, _ in await person.told()]


async def test_taking_an_account_away_ends_the_login_that_is_under_way(person: Person) -> None:
    begun = await person.start(flow="pkce")
    assert (await person.call("DELETE", "")).json["loginCancelled"] is True
    assert "not completed" in (await person.browse(person.provider.log_in(begun["authorizeUrl"]))).text
    assert (await person.status())["credential"] is None


@pytest.mark.parametrize(
    ("method", "what", "body", "said"),
    [
        ("POST", "/start", {"flow": 5}, "$.flow: must be a string"),
        ("POST", "/start", {"provder": "x"}, "$.provder: unknown"),
        ("POST", "/callback", {}, "$.code: missing"),
        ("POST", "/token", {"token": 5}, "$.token: must be a string"),
        (
            "POST",
            "/token",
            {"token": "sk-ant-api03-abc", "expiresAt": "soon"},
            "$.expiresAt: must be a time in the future",
        ),
        ("POST", "/token", {"token": "sk-ant-api03-abc", "provider": "<x>"}, "$.provider: must be a name"),
    ],
)
async def test_a_body_that_is_wrong_is_refused_with_its_place(
    person: Person, method: str, what: str, body: Any, said: str
) -> None:
    person.agent = "claude-code"
    answer = await person.call(method, what, body)
    assert answer.status == 400
    assert said in answer.json["detail"]


@pytest.mark.parametrize("flow", ["pkce", "device"])
async def test_a_login_ends_with_the_api_token_that_it_was_begun_with(
    run_gateway: Running, provider: FakeProvider, base_container: FakeContainer, database_url: str, flow: str
) -> None:
    config = attrs.evolve(QUICK, identity=IdentityConfig(modes=("tokens",)))
    async with run_gateway(config) as gateway:
        tokens = Tokens(gateway.app[DATABASE])
        made, text = await tokens.create(NewToken(user_id="alice"))
        _, kept = await tokens.create(NewToken(user_id="alice"))
        project = await gateway.sending(Authorization=f"Bearer {text}").register(base_container.url)
        person = Person(project, provider)
        begun = await person.start(flow=flow)
        person = Person(Project(gateway.sending(Authorization=f"Bearer {kept}"), project.id), provider)
        await tokens.revoke(made.id)
        if flow == "pkce":
            await person.browse(provider.log_in(begun["authorizeUrl"]), Authorization=f"Bearer {kept}")
        else:
            provider.approve()
            # Longer than the interval after which it would be asked about.
            await asyncio.sleep(2)
        assert await person.state() == "pending"
        assert (await gateway.app[CREDENTIALS].store.page("alice", after=None, limit=9)) == []
