"""All that providers are known to do wrong, by number, and what the person gets to see of it."""

import asyncio
import re
from typing import Any

import attrs
import pytest

from gateway.config.schema import IdentityConfig
from gateway.credentials.room import CREDENTIALS
from gateway.errors import AuthRequired, ProviderUnavailable, ReauthRequired
from gateway.oauth import due
from tests.fakes.container import FakeContainer
from tests.fakes.eventually import eventually, until
from tests.fakes.provider import Answer, Broken, Carried, FakeProvider, Hang
from tests.oauth.conftest import Running
from tests.oauth.person import Person
from tests.oauth.samples import NOW, jwt
from tests.world import QUICK, Project

HTML = Answer(b"<html><body>502 Bad Gateway</body></html>", 502, content_type="text/html")


def refused(error: Any, status: int = 400, **members: Any) -> Answer:
    return Answer({"error": error, **members}, status)


async def ended(person: Person) -> tuple[str, str, str]:
    """How the person's last login ended: state, code and title."""
    status = await person.status()
    login = status["login"]
    return status["state"], login["code"], login["title"]


async def failed_exchange(person: Person, *scripts: Any) -> dict[str, Any]:
    """The problem that pasting a code is answered with, where the provider answers so."""
    person.provider.answers["token"] = list(scripts)
    begun = await person.start(flow="pkce")
    answer = await person.paste(person.provider.log_in(begun["authorizeUrl"]))
    assert answer.status >= 400, answer.body
    problem: dict[str, Any] = answer.json
    status = await person.status()
    assert status["credential"] is None
    assert status["login"]["code"] == problem["code"]
    assert status["login"]["detail"] == problem["detail"]
    return problem


async def exchanged(person: Person, **members: Any) -> dict[str, Any]:
    """The credential, where the provider's answer has these members."""
    person.provider.members = members
    await person.log_in()
    status = await person.status()
    assert status["state"] == "authorized", status
    credential: dict[str, Any] = status["credential"]
    return credential


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Providers that do not answer are asked again at once."""
    monkeypatch.setattr(due, "MIN_BACKOFF", 0.05)


# Answers that a browser brings.


async def test_01_declined_is_told_as_declined(person: Person) -> None:
    page = await person.log_in(code=None, error="access_denied")
    assert "Example is not connected The login was declined at the provider." in page.text
    assert await ended(person) == ("denied", "login_denied", "The login was declined at the provider.")
    assert person.provider.calls_of("token") == []
    [(_, data)] = [entry for entry in await person.told() if entry[0] == "login_ended"]
    assert (data["outcome"], data["code"]) == ("denied", "login_denied")


async def test_02_declined_without_a_state_belongs_to_no_login(person: Person) -> None:
    page = await person.log_in(code=None, error="access_denied", state=None)
    assert "The login was not completed" in page.text
    assert await person.state() == "pending"
    # Where the person says themselves what came back, it can only be of the one login that they have under way.
    answer = await person.paste("https://x.example/cb?error=access_denied")
    assert (answer.status, answer.json["code"]) == (403, "login_denied")
    assert await person.state() == "denied"


@pytest.mark.parametrize("state", ["another", None, ""])
async def test_03_a_wrong_or_missing_state_completes_nothing(person: Person, state: str | None) -> None:
    page = await person.log_in(state=state)
    assert page.answer.status == 400
    assert "The login was not completed" in page.text
    assert (await person.state(), person.provider.calls_of("token")) == ("pending", [])


async def test_03_a_state_that_comes_twice_completes_nothing(person: Person) -> None:
    begun = await person.start()
    back = person.provider.log_in(begun["authorizeUrl"])
    page = await person.browse(f"{back}&state=another")
    assert "What was pasted is no answer of a provider." in page.text
    answer = await person.paste(f"{back}&state=another")
    assert (answer.status, answer.json["code"]) == (400, "login_unreadable")
    assert answer.json["detail"] == "$.code: state comes more than once."
    assert (await person.state(), person.provider.calls_of("token")) == ("pending", [])


@pytest.mark.parametrize("answer", [{}, {"code": None, "error": "access_denied"}])
async def test_04_an_answer_of_another_issuer_is_never_used(person: Person, answer: Any) -> None:
    page = await person.log_in(iss="https://evil.example", **answer)
    title = "The answer comes from another provider than the one that was asked."
    assert title in page.text
    assert await ended(person) == ("failed", "login_issuer_mismatch", title)
    assert person.provider.calls_of("token") == []


@pytest.mark.parametrize(("required", "state"), [(False, "authorized"), (True, "failed")])
async def test_04_an_answer_without_an_issuer_counts_where_none_is_required(
    run_gateway: Running, provider: FakeProvider, base_container: FakeContainer, required: bool, state: str
) -> None:
    async with run_gateway(require_iss=required) as gateway:
        person = Person(await gateway.register(base_container.url), provider)
        await person.log_in(iss=None)
        assert await person.state() == state


async def test_05_a_callback_that_comes_twice_completes_one_login(person: Person) -> None:
    begun = await person.start()
    back = person.provider.log_in(begun["authorizeUrl"])
    first, second = await asyncio.gather(person.browse(back), person.browse(back))
    assert sorted(page.answer.status for page in (first, second)) == [200, 400]
    assert await person.state() == "authorized"
    assert len(person.provider.calls_of("token")) == 1
    answer = await person.paste(back)
    assert (answer.status, answer.json["code"]) == (404, "login_unknown")
    assert "has been completed already" in answer.json["detail"]


async def test_06_a_code_that_the_provider_does_not_take_ends_the_login(person: Person) -> None:
    problem = await failed_exchange(person, refused("invalid_grant", error_description="verifier does not match"))
    assert (problem["status"], problem["code"]) == (400, "login_refused")
    assert problem["title"] == "The provider did not accept this login."
    assert "(verifier does not match)" in problem["detail"]


# Renewing.


async def test_07_a_refresh_token_that_is_over_asks_for_the_person_once(due_person: Person) -> None:
    due_person.provider.answers["token"] = [refused("invalid_grant")]
    for _ in range(3):
        with pytest.raises(ReauthRequired, match="Example renews it no more"):
            await due_person.fresh()
    assert len(due_person.provider.calls_of("token", grant_type="refresh_token")) == 1
    status = await due_person.status()
    assert status["state"] == "needs_reauth"
    assert "Connect it again" in status["credential"]["reason"]
    [(_, data)] = [entry for entry in await due_person.told() if entry[0] == "credential_needs_reauth"]
    assert (data["reason"], data["provider"]) == ("refused", "example")
    await due_person.connected()


async def test_08_a_rotated_refresh_token_takes_the_place_of_the_old_one(due_person: Person) -> None:
    before = await due_person.secrets()
    await due_person.fresh()
    after = await due_person.secrets()
    assert before is not None
    assert after is not None
    assert after[0] != before[0]
    assert after[1] in due_person.provider.grants.values()


async def test_09_without_a_new_refresh_token_the_old_one_stays(due_person: Person) -> None:
    due_person.provider.rotates = False
    before = await due_person.secrets()
    await due_person.fresh()
    after = await due_person.secrets()
    assert before is not None
    assert after is not None
    assert (after[0] != before[0], after[1] == before[1]) == (True, True)


async def test_10_where_somebody_else_used_the_token_the_person_is_asked_for(due_person: Person) -> None:
    provider = due_person.provider
    _, refresh = await due_person.secrets() or ("", "")
    for _ in range(2):
        async with due_person.gateway.http.post(
            f"{provider.url}/token", data={"grant_type": "refresh_token", "refresh_token": refresh}
        ) as response:
            await response.read()
    assert provider.grants == {}
    with pytest.raises(ReauthRequired):
        await due_person.fresh()
    assert await due_person.state() == "needs_reauth"


async def test_11_however_many_need_it_at_once_it_is_renewed_once(
    due_person: Person, run_gateway: Running, base_container: FakeContainer
) -> None:
    async with run_gateway() as second:
        other = Person(Project(second, "demo"), due_person.provider)
        asking = [one.fresh() for one in (due_person, other) for _ in range(8)]
        tokens = await asyncio.gather(*asking)
    assert len({token.version for token in tokens}) == 1
    assert len(due_person.provider.calls_of("token", grant_type="refresh_token")) == 1


async def test_12_a_token_without_an_end_is_never_renewed(person: Person) -> None:
    credential = await exchanged(person, expires_in=None)
    assert credential["expiresAt"] is None
    person.age(expires_in=None)
    await person.fresh()
    assert person.provider.calls_of("token", grant_type="refresh_token") == []


@pytest.mark.parametrize(
    ("told", "ends"),
    [("3600", True), (3600.5, True), ("3600.5", True), (-5, False), (0, False), (10**12, False), ("soon", False)],
)
async def test_13_a_lifetime_of_any_form_is_one_or_none(person: Person, told: Any, ends: bool) -> None:
    assert ((await exchanged(person, expires_in=told))["expiresAt"] is not None) is ends


@pytest.mark.parametrize("kind", [None, "bearer", "BEARER"])
async def test_14_a_token_type_is_read_in_any_case_and_may_be_missing(person: Person, kind: str | None) -> None:
    assert (await exchanged(person, token_type=kind))["state"] == "authorized"


async def test_14_a_token_that_agents_cannot_use_is_refused(person: Person) -> None:
    problem = await failed_exchange(person, Answer({"access_token": "a", "token_type": "mac"}))
    assert (problem["status"], problem["code"]) == (502, "provider_answer_invalid")
    assert "'mac'" in problem["detail"]


# Logins with a code.


@pytest.mark.parametrize("status", [200, 400, 429])
@pytest.mark.parametrize(("told", "interval"), [({}, 6), ({"interval": 7}, 7)])
async def test_15_slow_down_is_heeded_with_any_status(
    person: Person, status: int, told: dict[str, int], interval: float
) -> None:
    person.provider.answers["token"] = [refused("slow_down", status, **told)]
    await person.start(flow="device")
    await until(lambda: _interval_is(person, interval))
    assert await person.state() == "pending"


@pytest.mark.parametrize("error", ["expired_token", "token_expired"])
async def test_16_a_code_that_was_not_entered_in_time_is_told_as_that(person: Person, error: str) -> None:
    person.provider.answers["token"] = [refused(error, 200)]
    await person.start(flow="device")
    await person.becomes("expired")
    assert await ended(person) == ("expired", "login_expired", "The login was not completed in time.")


async def test_16_access_denied_ends_the_questions(person: Person) -> None:
    person.provider.answers["token"] = [refused("access_denied")]
    await person.start(flow="device")
    await person.becomes("denied")
    assert len(person.provider.calls_of("token")) == 1


# Answers of any shape.


async def test_17_an_error_with_status_200_is_an_error(person: Person) -> None:
    problem = await failed_exchange(person, refused("bad_verification_code", 200))
    assert problem["code"] == "login_refused"


async def test_18_tokens_may_come_as_a_form(person: Person) -> None:
    body = b"access_token=gho_1&scope=repo%2Cgist&token_type=bearer"
    person.provider.answers["token"] = [Answer(body, content_type="application/x-www-form-urlencoded")]
    await person.log_in()
    assert (await person.status())["credential"]["scopes"] == ["repo", "gist"]
    assert await person.secrets() == ("gho_1", None)


@pytest.mark.parametrize(("scope", "scopes"), [("read,extra", ["read", "extra"]), ("read", ["read"])])
async def test_19_the_scopes_are_those_that_were_given(person: Person, scope: str, scopes: list[str]) -> None:
    assert (await exchanged(person, scope=scope))["scopes"] == scopes


async def test_20_an_error_may_be_an_object(person: Person) -> None:
    error = {"code": "refresh_token_reused", "message": "Used twice."}
    problem = await failed_exchange(person, refused(error, 401))
    assert problem["code"] == "login_refused"
    assert "(Used twice.)" in problem["detail"]


async def test_21_a_refusal_without_an_error_is_one(person: Person) -> None:
    body = {"title": "Bad Request", "detail": "PKCE verification failed", "status": 400}
    problem = await failed_exchange(person, Answer(body, 400, content_type="application/problem+json"))
    assert problem["code"] == "login_refused"
    assert "PKCE verification failed" in problem["detail"]


@pytest.mark.parametrize(
    ("status", "code"), [(200, "provider_answer_invalid"), (500, "provider_unavailable"), (502, "provider_unavailable")]
)
async def test_22_a_page_is_no_answer(person: Person, status: int, code: str) -> None:
    problem = await failed_exchange(person, attrs.evolve(HTML, status=status))
    assert problem["code"] == code
    assert "<html>" not in str(problem)
    assert "Start the login again" in problem["detail"]


@pytest.mark.parametrize(
    "body", [b"", b"null", b"[]", b'{"access_token": "abc', b'{"access_token":"' + b"a" * 10_000_000 + b'"}']
)
async def test_23_what_is_no_answer_ends_the_login_and_says_so(person: Person, body: bytes) -> None:
    problem = await failed_exchange(person, Answer(body))
    assert problem["code"] in ("provider_answer_invalid", "provider_unavailable")
    assert problem["status"] in (502, 503)
    assert len(str(problem)) < 1000


async def test_24_a_provider_that_fails_and_then_answers_costs_nothing(due_person: Person) -> None:
    due_person.provider.answers["token"] = [Answer({}, 503), HTML, Answer({"error": "server_error"}, 500)]
    before = await due_person.secrets()
    assert (await due_person.fresh()).version == (await due_person.fresh()).version
    await until(lambda: _is_renewed(due_person, before))
    assert await due_person.state() == "authorized"


async def test_25_a_provider_that_is_asked_too_often_is_left_alone_for_as_long_as_it_says(due_person: Person) -> None:
    busy = Answer({}, 429, {"Retry-After": "17"})
    due_person.provider.answers["token"] = [busy]
    await due_person.fresh()
    due_person.age(expires_in=-1)
    with pytest.raises(ProviderUnavailable, match="cannot be renewed right now") as caught:
        await due_person.fresh()
    assert 1 < int(caught.value.headers["Retry-After"]) <= 17
    assert len(due_person.provider.calls_of("token", grant_type="refresh_token")) == 1
    due_person.provider.answers["token"] = [busy]
    begun = await due_person.start(flow="pkce")
    answer = await due_person.paste(due_person.provider.log_in(begun["authorizeUrl"]))
    assert (answer.status, answer.json["code"]) == (503, "provider_unavailable")
    assert answer.headers["Retry-After"] == "17"


@pytest.mark.parametrize("script", [Hang(), Broken()])
async def test_26_a_provider_that_hangs_is_not_waited_for_without_end(person: Person, script: Any) -> None:
    problem = await failed_exchange(person, script)
    assert (problem["status"], problem["code"]) == (503, "provider_unavailable")
    assert "Start the login again" in problem["detail"]


async def test_26_where_the_answer_to_a_renewal_is_lost_the_person_is_told_plainly(due_person: Person) -> None:
    due_person.provider.answers["token"] = [Carried()]
    token = await due_person.fresh()
    assert due_person.gateway.app[CREDENTIALS].store.open_access_token(token)
    await due_person.becomes_due_again("needs_reauth")
    status = await due_person.status()
    assert "was lost on its way, and tokens are renewed only once there" in status["credential"]["reason"]
    [(_, data)] = [entry for entry in await due_person.told() if entry[0] == "credential_needs_reauth"]
    assert data["reason"] == "lost"


@pytest.mark.parametrize("status", [302, 307, 308])
async def test_27_secrets_do_not_follow_a_redirect(person: Person, status: int) -> None:
    elsewhere = Answer(b"", status, {"Location": f"{person.provider.url}/elsewhere"})
    problem = await failed_exchange(person, elsewhere)
    assert problem["code"] == "provider_answer_invalid"
    assert "redirects" in problem["detail"]
    assert person.provider.calls_of("elsewhere") == []


@pytest.mark.parametrize("skew", [-600, 600])
async def test_28_a_providers_clock_may_be_wrong(
    run_gateway: Running, provider: FakeProvider, base_container: FakeContainer, skew: int
) -> None:
    async with run_gateway(expiry={"from_jwt_exp": True}) as gateway:
        person = Person(await gateway.register(base_container.url), provider)
        theirs = NOW.timestamp() + skew
        credential = await exchanged(person, access_token=jwt(iat=theirs, exp=theirs + 3600), expires_in=None)
        assert 3590 < person.seconds_until(credential["expiresAt"]) <= 3600
        shorter = await exchanged(person, access_token=jwt(iat=theirs, exp=theirs + 600), expires_in=3600)
        assert 590 < person.seconds_until(shorter["expiresAt"]) <= 600


async def test_28_a_token_that_is_over_when_it_arrives_is_renewed_when_it_is_needed(
    run_gateway: Running, provider: FakeProvider, base_container: FakeContainer
) -> None:
    async with run_gateway(expiry={"from_jwt_exp": True}) as gateway:
        person = Person(await gateway.register(base_container.url), provider)
        await exchanged(person, access_token=jwt(iat=NOW.timestamp(), exp=NOW.timestamp() - 5))
        provider.members = {}
        person.age(expires_in=-1)
        await person.fresh()
        assert await person.state() == "authorized"
        assert len(provider.calls_of("token", grant_type="refresh_token")) == 1


async def test_29_a_second_start_ends_the_first_login(person: Person) -> None:
    first, second = await person.start(flow="pkce"), await person.start(flow="pkce")
    page = await person.browse(person.provider.log_in(first["authorizeUrl"]))
    assert "Another login has been started since." in page.text
    assert await person.state() == "pending"
    assert "is connected" in (await person.browse(person.provider.log_in(second["authorizeUrl"]))).text


async def test_29_tokens_that_come_after_the_person_has_cancelled_are_given_back(person: Person) -> None:
    async def cancelled_meanwhile(_: dict[str, Any]) -> Any:
        await person.call("DELETE", "")
        return person.provider.granted(access_token="unwanted")

    person.provider.answers["token"] = [cancelled_meanwhile]
    begun = await person.start(flow="pkce")
    answer = await person.paste(person.provider.log_in(begun["authorizeUrl"]))
    assert (answer.status, answer.json["code"]) == (409, "login_superseded")
    assert (await person.status())["credential"] is None
    await eventually(lambda: "unwanted" in person.provider.revoked)


@pytest.mark.parametrize(("told", "interval"), [("3", 3), (0, 5), (None, 5)])
async def test_30_an_interval_of_any_form_is_kept(person: Person, told: Any, interval: float) -> None:
    members = {"device_code": "d", "user_code": "ABCD", "verification_uri": "https://id.example/", "expires_in": 0}
    members |= {"interval": told} if told is not None else {}
    person.provider.answers["device"] = [Answer(members)]
    begun = await person.start(flow="device")
    assert begun["interval"] == interval
    assert 890 < person.seconds_until(begun["expiresAt"]) <= 900


@pytest.mark.parametrize("status", [403, 404])
async def test_31_openais_own_login_with_a_code_reads_403_and_404_as_not_yet(
    run_gateway: Running, provider: FakeProvider, base_container: FakeContainer, status: int
) -> None:
    urls = {
        "device_url": f"{provider.url}/usercode",
        "device_token_url": f"{provider.url}/devicetoken",
        "verification_url": f"{provider.url}/codex/device",
    }
    provider.answers["usercode"] = [Answer({"device_auth_id": "d1", "usercode": "AB-12", "interval": "1"})]
    provider.answers["devicetoken"] = [
        Answer({}, status),
        Answer(b"", status),
        Answer({"authorization_code": "c1", "code_challenge": "x", "code_verifier": "v1"}),
    ]
    provider.answers["token"] = [Answer({"access_token": "a1", "refresh_token": "r1"})]
    async with run_gateway(flows=["openai_device"], **urls) as gateway:
        person = Person(await gateway.register(base_container.url), provider)
        begun = await person.start()
        assert (begun["userCode"], begun["verificationUri"]) == ("AB-12", f"{provider.url}/codex/device")
        await person.becomes("authorized")
        assert await person.secrets() == ("a1", "r1")
        [call] = provider.calls_of("token")
        assert call.members["code_verifier"] == "v1"
        assert call.members["redirect_uri"] == f"{provider.url}/deviceauth/callback"


@pytest.mark.parametrize("script", [refused("device_flow_disabled", 200), Answer(b"Not Found", 404)])
async def test_32_a_login_with_a_code_that_is_switched_off_is_told_as_that(person: Person, script: Answer) -> None:
    person.provider.answers["device"] = [script]
    answer = await person.call("POST", "/start", {"flow": "device"})
    assert (answer.status, answer.json["code"]) == (502, "device_flow_disabled")
    assert "log in another way" in answer.json["detail"]
    assert await person.state() == "none"


async def test_33_tokens_of_another_account_are_not_taken(person: Person) -> None:
    await exchanged(person, id_token=jwt(sub="alice"))
    before = await person.secrets()
    person.provider.members = {"id_token": jwt(sub="mallory")}
    person.age(expires_in=1)
    with pytest.raises(ReauthRequired, match="another account"):
        await person.fresh()
    assert await person.secrets() == before
    assert (await person.status())["state"] == "needs_reauth"


@pytest.mark.parametrize("token_url", ["https://nowhere.invalid/token", "tls"])
async def test_34_a_provider_that_cannot_be_reached_is_asked_again(
    run_gateway: Running, provider: FakeProvider, base_container: FakeContainer, token_url: str
) -> None:
    url = token_url if token_url != "tls" else provider.url.replace("http:", "https:") + "/token"
    async with run_gateway(token_url=url) as gateway:
        person = Person(await gateway.register(base_container.url), provider)
        await person.start(flow="device")
        await until(lambda: _has_failed(person))
        assert await person.state() == "pending"
    provider.approve()
    async with run_gateway() as gateway:
        await Person(Project(gateway, "demo"), provider).becomes("authorized")


@pytest.mark.parametrize("script", [Answer({}, 503, {"Retry-After": "30"}), Hang()])
async def test_35_an_account_is_forgotten_although_its_provider_cannot_be_told(person: Person, script: Any) -> None:
    await person.connected()
    person.provider.answers["revoke"] = [script]
    answer = await person.call("DELETE", "")
    assert (answer.status, answer.json["deleted"]) == (200, True)
    assert answer.json["revocation"]["outcome"] == "retrying"
    assert "Forgotten here." in answer.json["revocation"]["message"]
    assert await person.secrets() is None


async def test_36_what_is_pasted_completes_ones_own_login_only(
    run_gateway: Running, provider: FakeProvider, base_container: FakeContainer
) -> None:
    identity = IdentityConfig(modes=("proxy",), proxy_addresses=("127.0.0.1",))
    config = attrs.evolve(QUICK, identity=identity, containers=attrs.evolve(QUICK.containers, shared=True))
    async with run_gateway(config) as gateway:
        people = {}
        for name in ("alice", "bob"):
            gateway.http.headers["X-Forwarded-User"] = name
            people[name] = Person(await gateway.register(base_container.url, id=name), provider)
        bobs = await people["bob"].start(flow="pkce")
        gateway.http.headers["X-Forwarded-User"] = "alice"
        theirs = provider.log_in(bobs["authorizeUrl"])
        assert (await people["alice"].paste(theirs)).json["code"] == "login_unknown"
        bare = re.search(r"code=([^&]+)", theirs)
        assert bare is not None
        assert (await people["alice"].paste(bare[1])).json["code"] == "login_not_pending"
        # Nor does a browser that is known to be another's.
        assert "not completed" in (await people["alice"].browse(theirs)).text
        mine = await people["alice"].start(flow="pkce")
        people["alice"].agent = "claude-code"
        await people["alice"].start(flow="pkce")
        people["alice"].agent = "demo"
        back = provider.log_in(mine["authorizeUrl"])
        bare = re.search(r"code=([^&]+)", back)
        assert bare is not None
        assert (await people["alice"].paste(bare[1])).json["code"] == "login_ambiguous"
        assert (await people["alice"].paste(f"  {back[:60]}\n   {back[60:]}  ")).json["state"] == "authorized"
        gateway.http.headers["X-Forwarded-User"] = "bob"
        assert (await people["bob"].paste(theirs)).json["state"] == "authorized"


async def test_37_secrets_in_what_a_provider_says_are_masked_and_markup_is_text(person: Person) -> None:
    async def repeating(members: dict[str, Any]) -> Any:
        told = f"<script>alert(1)</script> {members['code']} {members['code_verifier']} " + "A1b2C3d4" * 8
        return {"error": "invalid_grant", "error_description": told}

    person.provider.answers["token"] = [repeating]
    page = await person.log_in()
    body = page.answer.body.decode()
    assert "<script>" not in body
    assert "&lt;script&gt;" in body
    [call] = person.provider.calls_of("token")
    told = body + str(await person.status()) + str(await person.told())
    for secret in (call.members["code"], call.members["code_verifier"], "A1b2C3d4"):
        assert secret not in told
    assert "[redacted]" in told


async def test_37_what_a_browser_brings_is_escaped_too(person: Person) -> None:
    page = await person.log_in(code=None, error="x", error_description="<img src=x onerror=alert(1)>")
    assert "<img" not in page.answer.body.decode()
    assert "<img src=x" in page.text.replace("\xa0", " ")


async def test_38_a_credential_that_is_deleted_while_it_is_renewed_stays_deleted(due_person: Person) -> None:
    async def deleted_meanwhile(_: dict[str, Any]) -> Any:
        assert (await due_person.call("DELETE", "")).json["deleted"] is True
        return due_person.provider.granted(access_token="unwanted")

    due_person.provider.answers["token"] = [deleted_meanwhile]
    with pytest.raises(AuthRequired):
        await due_person.fresh()
    assert await due_person.secrets() is None
    await eventually(lambda: "unwanted" in due_person.provider.revoked)


async def test_38_a_credential_that_is_replaced_while_it_is_renewed_is_the_new_one(due_person: Person) -> None:
    due_person.agent = "claude-code"
    await due_person.connected()
    due_person.age(expires_in=1)

    async def replaced_meanwhile(_: dict[str, Any]) -> Any:
        await due_person.call("POST", "/token", {"token": "sk-ant-api03-new"})
        return due_person.provider.granted(access_token="unwanted")

    due_person.provider.answers["token"] = [replaced_meanwhile]
    token = await due_person.fresh()
    assert due_person.gateway.app[CREDENTIALS].store.open_access_token(token) == "sk-ant-api03-new"
    await eventually(lambda: "unwanted" in due_person.provider.revoked)


@pytest.fixture
async def due_person(person: Person) -> Person:
    """Somebody whose connected account is due to be renewed."""
    await person.connected()
    person.age(expires_in=1)
    return person


async def _interval_is(person: Person, interval: float) -> bool:
    found: float = (await person.status())["login"]["interval"]
    return found == interval


async def _is_renewed(person: Person, before: Any) -> bool:
    await person.fresh()
    return await person.secrets() != before


async def _has_failed(person: Person) -> bool:
    rows = person.rows("select poll_failures from pending_logins")
    return bool(rows[0][0])
