"""What a provider's answers mean: plain ones as oauthlib reads them, odd ones by name, any bytes without an error."""

import json
from datetime import timedelta
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oauthlib.oauth2.rfc6749.parameters import parse_token_response

from gateway.oauth.protocol.answers import (
    device_answer,
    openai_device_answer,
    openai_poll_answer,
    revocation_answer,
    token_answer,
)
from gateway.oauth.protocol.outcomes import (
    CodeGranted,
    DeviceGranted,
    Granted,
    Malformed,
    Refused,
    TokenAnswer,
    Unavailable,
    Waiting,
)
from gateway.oauth.protocol.presets import PRESETS
from gateway.oauth.protocol.provider import Expiry
from gateway.oauth.protocol.replies import NoReply, Reply
from tests.oauth.samples import NOW, PROVIDER, jwt, reply

WORD = st.text("abcdefghijklmnopqrstuvwxyzABC0123456789._~-", min_size=1, max_size=60)


def read(answer: Reply | NoReply, **options: Any) -> TokenAnswer:
    return token_answer(answer, options.pop("provider", PROVIDER), now=NOW, **options)


def granted(body: Any, **options: Any) -> Granted:
    answer = read(reply(body), **options)
    assert isinstance(answer, Granted), answer
    return answer


@pytest.fixture
def lenient_oracle(monkeypatch: pytest.MonkeyPatch) -> None:
    """oauthlib as it is by default: it refuses addresses without TLS, of which none is here."""
    monkeypatch.delenv("OAUTHLIB_INSECURE_TRANSPORT", raising=False)


@given(
    access=WORD,
    refresh=st.none() | WORD,
    expires=st.none() | st.integers(1, 10**8),
    scopes=st.none() | st.lists(WORD, min_size=1, max_size=4, unique=True),
)
def test_a_plain_answer_is_read_as_oauthlib_reads_it(
    access: str, refresh: str | None, expires: int | None, scopes: list[str] | None
) -> None:
    told = {"access_token": access, "token_type": "Bearer", "refresh_token": refresh, "expires_in": expires}
    told["scope"] = " ".join(scopes) if scopes else None
    body = json.dumps({name: value for name, value in told.items() if value is not None})
    oracle = parse_token_response(body, scope=scopes)
    ours = granted(body.encode())
    assert ours.access_token == oracle["access_token"]
    assert ours.refresh_token == oracle.get("refresh_token")
    assert ours.scopes == (tuple(oracle["scope"]) if scopes else None)
    ends = None if expires is None else NOW + timedelta(seconds=expires)
    assert ours.expires_at == ends


@pytest.mark.parametrize(
    ("expires_in", "length"),
    [(3600, 3600), ("3600", 3600), (3600.5, 3600.5), ("3600.5", 3600.5), (0, None), (-1, None), ("0", None),
     (None, None), (10**30, None), (True, None), ("soon", None), ([], None), ({}, None), ("١٢", None)],
)  # fmt: skip
def test_a_lifetime_of_any_form_is_a_length_or_unknown(expires_in: Any, length: float | None) -> None:
    ends = None if length is None else NOW + timedelta(seconds=length)
    assert granted({"access_token": "a", "expires_in": expires_in}).expires_at == ends


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e400"])
def test_a_lifetime_that_is_no_number_is_unknown(text: str) -> None:
    assert granted(b'{"access_token": "a", "expires_in": %b}' % text.encode()).expires_at is None


def test_where_no_lifetime_is_told_the_providers_default_holds() -> None:
    provider = attrs.evolve(PROVIDER, expiry=Expiry(default_ttl=60))
    assert granted({"access_token": "a"}, provider=provider).expires_at == NOW + timedelta(seconds=60)


@pytest.mark.parametrize(
    ("claims", "expires_in", "length"),
    [
        # A clock ten minutes off changes nothing: the token's own beginning is of the same clock.
        ({"iat": NOW.timestamp() - 600, "exp": NOW.timestamp() + 3000}, None, 3600),
        ({"iat": NOW.timestamp() + 600, "exp": NOW.timestamp() + 4200}, None, 3600),
        ({"exp": NOW.timestamp() + 3000}, None, 3000),
        ({"iat": NOW.timestamp(), "exp": NOW.timestamp() + 600}, 3600, 600),
        ({"iat": NOW.timestamp(), "exp": NOW.timestamp() + 3600}, 600, 600),
        ({"exp": NOW.timestamp() - 5}, None, 0),
        ({"exp": "never"}, 600, 600),
        ({}, None, None),
    ],
)
def test_a_jwts_own_end_counts_by_its_own_clock(claims: Any, expires_in: Any, length: float | None) -> None:
    provider = attrs.evolve(PROVIDER, expiry=Expiry(from_jwt_exp=True))
    ends = None if length is None else NOW + timedelta(seconds=length)
    assert granted({"access_token": jwt(**claims), "expires_in": expires_in}, provider=provider).expires_at == ends


def test_without_a_beginning_the_providers_date_says_how_long_a_jwt_lasts() -> None:
    provider = attrs.evolve(PROVIDER, expiry=Expiry(from_jwt_exp=True))
    theirs = NOW + timedelta(minutes=10)
    answer = reply({"access_token": jwt(exp=theirs.timestamp() + 60)}, date=theirs)
    ours = read(answer, provider=provider)
    assert isinstance(ours, Granted)
    assert ours.expires_at == NOW + timedelta(seconds=60)


@pytest.mark.parametrize(
    ("scope", "scopes"),
    [
        ("a b", ("a", "b")),
        ("a,b", ("a", "b")),
        ("a, b a", ("a", "b")),
        (["a", "b", 1], ("a", "b")),
        ("", None),
        (5, None),
    ],
)
def test_scopes_are_read_with_spaces_and_commas(scope: Any, scopes: Any) -> None:
    assert granted({"access_token": "a", "scope": scope}).scopes == scopes


def test_whom_a_token_is_of_is_told_by_its_id_token() -> None:
    assert granted({"access_token": "a", "id_token": jwt(sub="u-1")}).subject == "u-1"
    assert granted({"access_token": "a", "id_token": "no.jwt"}).subject is None
    assert granted({"access_token": jwt(sub="u-2")}).subject is None
    openai = attrs.evolve(PROVIDER, expiry=Expiry(from_jwt_exp=True))
    assert granted({"access_token": jwt(sub="u-2")}, provider=openai).subject == "u-2"


@pytest.mark.parametrize("kind", ["bearer", "Bearer", "BEARER", None, "", 5])
def test_a_token_type_of_any_case_or_none_is_a_bearer_token(kind: Any) -> None:
    assert granted({"access_token": "a", "token_type": kind}).access_token == "a"


@pytest.mark.parametrize("kind", ["mac", "DPoP"])
def test_a_token_that_agents_cannot_use_is_told_as_that(kind: str) -> None:
    answer = read(reply({"access_token": "a", "token_type": kind}))
    assert isinstance(answer, Malformed)
    assert kind in answer.reason


def test_a_form_is_read_as_well_as_json() -> None:
    body = b"access_token=gho_1&scope=repo%2Cuser&token_type=bearer&expires_in=60"
    answer = granted(body)
    assert (answer.access_token, answer.scopes) == ("gho_1", ("repo", "user"))
    assert answer.expires_at == NOW + timedelta(seconds=60)


@pytest.mark.parametrize("status", [200, 400, 401, 403])
@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"error": "invalid_grant"}, "invalid_grant"),
        ({"error": {"code": "refresh_token_reused", "message": "used twice"}}, "invalid_grant"),
        ({"error": {"type": "access_denied"}}, "access_denied"),
        ({"error": "bad_refresh_token"}, "invalid_grant"),
        ({"error": "token_expired"}, "expired_token"),
        ({"error": "incorrect_client_credentials"}, "invalid_client"),
        ({"error": {}}, "refused"),
        ({"error": 7}, "refused"),
        ({"error": ["x"]}, "refused"),
        ({"error": "<script>alert(1)</script>"}, "refused"),
        (b"error=invalid_grant&error_description=used", "invalid_grant"),
    ],
)
def test_an_error_is_an_error_whatever_the_status_and_the_form(status: int, body: Any, error: str) -> None:
    answer = read(reply(body, status))
    assert isinstance(answer, Refused)
    assert answer.error == error


@pytest.mark.parametrize("status", [200, 400, 429])
def test_slow_down_is_heard_with_every_status(status: int) -> None:
    assert read(reply({"error": "slow_down"}, status)) == Waiting(slow_down=True)
    assert read(reply({"error": "slow_down", "interval": "10"}, status)) == Waiting(slow_down=True, interval=10)


@pytest.mark.parametrize("status", [200, 400, 403])
def test_pending_is_heard_with_every_status(status: int) -> None:
    assert read(reply({"error": "authorization_pending"}, status)) == Waiting()


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (reply({"title": "Bad", "status": 400, "detail": "no"}, 400), Refused),
        (reply(b"<html>502 Bad Gateway</html>", 502), Unavailable),
        (reply(b"<html>502 Bad Gateway</html>", 200), Malformed),
        (reply(b"<html>Forbidden</html>", 403), Unavailable),
        (reply(b"", 200), Malformed),
        (reply(b"null", 200), Malformed),
        (reply(b"[]", 200), Malformed),
        (reply(b'{"access_token": "a', 200), Malformed),
        (reply({"access_token": ""}, 200), Malformed),
        (reply({"access_token": "a b"}, 200), Malformed),
        (reply({"access_token": "a\r\nX: y"}, 200), Malformed),
        (reply({"access_token": ["a"]}, 200), Malformed),
        (reply({"access_token": "a" * 70_000}, 200), Malformed),
        (reply(b"[" * 100_000, 200), Malformed),
        (reply(b'{"a":' * 50_000, 200), Malformed),
        (reply({}, 500), Unavailable),
        (reply({"error": "server_error"}, 400), Unavailable),
        (reply({"error": "temporarily_unavailable"}, 503), Unavailable),
        (reply({}, 429), Unavailable),
        (reply({"access_token": "stolen"}, 302), Malformed),
        (reply({"access_token": "stolen"}, 307), Malformed),
        (NoReply(reason="gone", sent=True), Unavailable),
    ],
)
def test_each_odd_answer_has_its_meaning(answer: Reply | NoReply, kind: type) -> None:
    assert type(read(answer)) is kind


@pytest.mark.parametrize(
    ("answer", "unanswered"),
    [
        (NoReply(reason="refused", sent=False), False),
        (NoReply(reason="timeout", sent=True), True),
        (reply(b"<html>", 502), True),
        (reply({}, 429), False),
    ],
)
def test_whether_a_request_may_have_been_carried_out_is_told(answer: Reply | NoReply, unanswered: bool) -> None:
    found = read(answer)
    assert isinstance(found, Unavailable)
    assert found.unanswered is unanswered


def test_when_to_ask_again_is_kept() -> None:
    assert read(reply({}, 429, retry_after=17.0)) == Unavailable(reason="the provider answered 429", retry_after=17.0)


def test_secrets_in_what_a_provider_says_are_masked_and_the_rest_is_one_short_line() -> None:
    told = "code=hunter22 is bad\x00\n\u202e<b>" + "A1b2" * 10 + " " + "word " * 100
    answer = read(reply({"error": "invalid_grant", "error_description": told}, 400), secrets=("hunter22",))
    assert isinstance(answer, Refused)
    assert answer.description.startswith("code=[redacted] is bad <b>[redacted] word word")
    assert len(answer.description) <= 200
    assert "A1b2" not in answer.description


JSONISH = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
MEMBERS = st.dictionaries(
    st.sampled_from(
        ["access_token", "refresh_token", "expires_in", "token_type", "scope", "error", "error_description", "interval",
         "id_token", "device_code", "user_code", "verification_uri", "verification_uri_complete", "refresh_expires_in",
         "authorization_code", "code_verifier", "device_auth_id", "detail"]
    ),
    JSONISH,
)  # fmt: skip
BODIES = st.binary(max_size=200) | MEMBERS.map(lambda value: json.dumps(value).encode()) | st.text().map(str.encode)
MEANINGS = (Granted, Waiting, Refused, Unavailable, Malformed, DeviceGranted, CodeGranted, type(None))


@given(body=BODIES, status=st.integers(200, 599), kind=st.text(max_size=20))
def test_any_bytes_mean_something_and_nothing_shown_of_them_breaks_a_line(body: bytes, status: int, kind: str) -> None:
    answer = Reply(status=status, body=body, content_type=kind)
    jwts = attrs.evolve(PRESETS["openai"], client_id="c")
    found = [
        read(answer),
        read(answer, provider=jwts),
        device_answer(answer),
        openai_device_answer(answer, jwts),
        openai_poll_answer(answer),
        revocation_answer(answer),
    ]
    for one in found:
        assert isinstance(one, MEANINGS)
        shown = getattr(one, "description", "") + getattr(one, "reason", "") + getattr(one, "error", "")
        assert shown.isprintable() or not shown
        if isinstance(one, Granted):
            assert status < 300
            assert one.access_token.isascii()


# Device logins.


def device(**members: Any) -> Any:
    told = {"device_code": "d", "user_code": "WDJB-MJHT", "verification_uri": "https://id.example/device"}
    return device_answer(reply(told | members))


@pytest.mark.parametrize(
    ("interval", "expected"), [(5, 5), ("7", 7), (0, 5), (None, 5), (-3, 5), ("x", 5), (10**9, 60), (0.1, 1)]
)
def test_an_interval_of_any_form_is_one_that_can_be_kept(interval: Any, expected: float) -> None:
    assert device(interval=interval).interval == expected


@pytest.mark.parametrize(("told", "expected"), [(600, 600), (0, 900), (None, 900), ("60", 60), (10**9, 3600)])
def test_how_long_a_code_lasts_has_a_default_and_an_end(told: Any, expected: float) -> None:
    assert device(expires_in=told).expires_in == expected


@pytest.mark.parametrize(
    "uri",
    ["javascript:alert(1)", "http://evil.example/", "https://", "https://x y/", 5, None, "data:text/html,x", "//x"],
)
def test_nobody_is_sent_to_an_address_that_is_none(uri: Any) -> None:
    assert isinstance(device(verification_uri=uri), Malformed)
    assert device(verification_uri_complete=uri).verification_uri_complete is None


@pytest.mark.parametrize("code", ["", " ", "a" * 65, "<b>\n", None, 5])
def test_a_code_that_cannot_be_shown_is_none(code: Any) -> None:
    assert isinstance(device(user_code=code), Malformed)


def test_a_missing_device_endpoint_is_a_flow_that_is_disabled() -> None:
    assert device_answer(reply(b"Not Found", 404)) == Refused(error="device_flow_disabled")


def test_openais_names_and_text_intervals_are_read() -> None:
    provider = attrs.evolve(PRESETS["openai"], client_id="c")
    answer = openai_device_answer(reply({"device_auth_id": "d", "usercode": "AB-12", "interval": "5"}), provider)
    assert isinstance(answer, DeviceGranted)
    assert (answer.user_code, answer.interval) == ("AB-12", 5)
    assert answer.verification_uri == "https://auth.openai.com/codex/device"


@pytest.mark.parametrize("status", [403, 404])
def test_openais_403_and_404_say_not_yet(status: int) -> None:
    assert openai_poll_answer(reply({"error": {"message": "pending"}}, status)) == Waiting()
    assert openai_poll_answer(reply(b"", status)) == Waiting()


def test_openai_gives_a_code_and_its_verifier() -> None:
    answer = openai_poll_answer(reply({"authorization_code": "c", "code_challenge": "x", "code_verifier": "v"}))
    assert answer == CodeGranted(code="c", verifier="v")


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (reply(b"", 200), type(None)),
        (reply(b"", 204), type(None)),
        (reply({"error": "unsupported_token_type"}, 400), Refused),
        (reply({}, 503, retry_after=2.0), Unavailable),
        (reply({"error": "x"}, 503), Unavailable),
        (NoReply(reason="hangs", sent=True), Unavailable),
        (reply(b"", 302), Malformed),
    ],
)
def test_what_a_revocation_was_answered(answer: Reply | NoReply, kind: type) -> None:
    assert type(revocation_answer(answer)) is kind
