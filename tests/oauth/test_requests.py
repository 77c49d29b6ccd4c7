"""What providers are sent, against oauthlib: the same parameters, encoded the same way."""

import json
from base64 import b64decode
from urllib.parse import parse_qsl, urlsplit

import attrs
from hypothesis import given
from hypothesis import strategies as st
from oauthlib.oauth2 import DeviceClient, WebApplicationClient

from gateway.oauth.protocol import openai_device, requests
from gateway.oauth.protocol.pkce import Verifier
from gateway.oauth.protocol.presets import PRESETS
from gateway.oauth.protocol.provider import JSON, NO_PKCE, Bodies
from gateway.oauth.protocol.requests import Request
from tests.oauth.samples import PROVIDER

TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FFF), min_size=1, max_size=40)
VERIFIER = Verifier(value="v" * 43)
REDIRECT = "https://gateway.example/api/oauth/callback/example"


def query(url: str) -> dict[str, str]:
    pairs = parse_qsl(urlsplit(url).query, strict_parsing=True)
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


def form(request: Request) -> dict[str, str]:
    assert request.headers["Content-Type"] == "application/x-www-form-urlencoded"
    return dict(parse_qsl(request.body.decode(), strict_parsing=True))


@given(
    client_id=TEXT, scope=st.lists(TEXT.map(lambda text: text.replace(" ", "")).filter(bool), min_size=1), state=TEXT
)
def test_the_authorize_url_asks_what_oauthlibs_asks(client_id: str, scope: list[str], state: str) -> None:
    oracle = WebApplicationClient(client_id).prepare_request_uri(
        PROVIDER.authorize_url,
        redirect_uri=REDIRECT,
        scope=scope,
        state=state,
        code_challenge=VERIFIER.challenge,
        code_challenge_method="S256",
    )
    ours = requests.authorize_url(
        attrs.evolve(PROVIDER, client_id=client_id),
        redirect_uri=REDIRECT,
        state=state,
        verifier=VERIFIER,
        scopes=tuple(scope),
    )
    assert query(ours) == query(oracle)


@given(code=TEXT, client_id=TEXT, secret=TEXT)
def test_the_exchange_is_the_body_that_oauthlib_writes(code: str, client_id: str, secret: str) -> None:
    oracle = WebApplicationClient(client_id).prepare_request_body(
        code=code, redirect_uri=REDIRECT, client_secret=secret, code_verifier=VERIFIER.value
    )
    provider = attrs.evolve(PROVIDER, client_id=client_id, client_secret=secret)
    ours = requests.exchange(provider, code=code, verifier=VERIFIER.value, redirect_uri=REDIRECT, state="s")
    assert form(ours) == dict(parse_qsl(oracle))


@given(token=TEXT)
def test_a_refresh_is_the_body_that_oauthlib_writes(token: str) -> None:
    oracle = WebApplicationClient("client-1").prepare_refresh_body(refresh_token=token, client_id="client-1")
    ours = requests.refresh(PROVIDER, refresh_token=token, scopes=("read",))
    assert form(ours) == dict(parse_qsl(oracle))


def test_a_device_poll_is_the_body_that_oauthlib_writes() -> None:
    oracle = DeviceClient("client-1").prepare_request_body(device_code="device-1", include_client_id=True)
    assert form(requests.device_poll(PROVIDER, device_code="device-1")) == dict(parse_qsl(oracle))


def test_a_revocation_is_the_body_that_oauthlib_writes() -> None:
    client = WebApplicationClient("client-1")
    _, _, oracle = client.prepare_token_revocation_request(PROVIDER.revoke_url, "token-1", "refresh_token")
    ours = form(requests.revoke(PROVIDER, token="token-1", hint="refresh_token"))
    assert ours == dict(parse_qsl(oracle)) | {"client_id": "client-1"}


def test_what_an_operator_adds_to_the_authorize_url_replaces_nothing_that_the_login_hangs_on() -> None:
    provider = attrs.evolve(
        PROVIDER,
        authorize_url="https://id.example/authorize?tenant=t1",
        extra_authorize_params={"access_type": "offline", "state": "mine", "code_challenge_method": "plain"},
    )
    asked = query(
        requests.authorize_url(provider, redirect_uri=REDIRECT, state="theirs", verifier=VERIFIER, scopes=("a", "b"))
    )
    assert (asked["tenant"], asked["access_type"], asked["state"]) == ("t1", "offline", "theirs")
    assert (asked["code_challenge_method"], asked["scope"]) == ("S256", "a b")


def test_a_provider_without_pkce_is_sent_no_verifier() -> None:
    provider = attrs.evolve(PROVIDER, pkce=NO_PKCE)
    url = requests.authorize_url(provider, redirect_uri=REDIRECT, state="s", verifier=VERIFIER, scopes=())
    assert "code_challenge" not in url
    sent = form(requests.exchange(provider, code="c", verifier=VERIFIER.value, redirect_uri=REDIRECT, state="s"))
    assert "code_verifier" not in sent


def test_a_secret_goes_into_the_header_where_the_provider_wants_it_there() -> None:
    provider = attrs.evolve(PROVIDER, client_id="a b", client_secret="s:e", client_auth="basic")
    request = requests.refresh(provider, refresh_token="r", scopes=())
    assert b64decode(request.headers["Authorization"].removeprefix("Basic ")) == b"a+b:s%3Ae"
    assert form(request) == {"grant_type": "refresh_token", "refresh_token": "r"}


def test_json_bodies_state_and_scopes_go_where_a_preset_says_so() -> None:
    provider = attrs.evolve(PRESETS["anthropic"], client_id="c")
    exchange = requests.exchange(provider, code="k", verifier=VERIFIER.value, redirect_uri=REDIRECT, state="s")
    assert exchange.headers["Content-Type"] == "application/json"
    assert json.loads(exchange.body) == {
        "grant_type": "authorization_code",
        "code": "k",
        "redirect_uri": REDIRECT,
        "code_verifier": VERIFIER.value,
        "state": "s",
        "client_id": "c",
    }
    refreshed = json.loads(requests.refresh(provider, refresh_token="r", scopes=("user:inference",)).body)
    assert (refreshed["scope"], refreshed["refresh_token"]) == ("user:inference", "r")


def test_github_is_told_by_its_own_call_that_a_token_is_over() -> None:
    provider = attrs.evolve(PRESETS["github"], client_id="c/1", client_secret="s")
    request = requests.revoke(provider, token="gho_1", hint="access_token")
    assert (request.method, request.url) == ("DELETE", "https://api.github.com/applications/c%2F1/token")
    assert json.loads(request.body) == {"access_token": "gho_1"}


def test_openais_device_login_speaks_json_and_exchanges_for_an_address_of_its_own() -> None:
    provider = attrs.evolve(PRESETS["openai"], client_id="c")
    assert json.loads(openai_device.begin(provider).body) == {"client_id": "c"}
    asked = openai_device.poll(provider, device_code="d", user_code="U")
    assert json.loads(asked.body) == {"device_auth_id": "d", "user_code": "U"}
    assert openai_device.redirect_uri(provider) == "https://auth.openai.com/deviceauth/callback"


def test_no_secret_is_in_what_a_request_prints() -> None:
    provider = attrs.evolve(PROVIDER, client_secret="canary-1", bodies=Bodies(revoke=JSON))
    made = [
        requests.exchange(provider, code="canary-2", verifier="canary-3", redirect_uri=REDIRECT, state="canary-4"),
        requests.refresh(provider, refresh_token="canary-5", scopes=()),
        requests.device_poll(provider, device_code="canary-6"),
        requests.revoke(provider, token="canary-7", hint="access_token"),
    ]
    assert "canary" not in repr(made) + repr(provider)
    assert [len(request.secrets) for request in made] == [4, 2, 2, 2]
