"""JWTs of a trusted issuer: what must hold, and what the issuer's absence does."""

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import attrs
import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import example, given
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy

from gateway.config.schema import IdentityConfig
from gateway.errors import Unauthenticated
from gateway.identity import access_monitor, jwks
from gateway.identity.caller import Presented
from gateway.identity.jwt import LAST_TIME, LEEWAY_SECONDS, JwtMode
from gateway.wire.times import timestamp
from tests.identity.tokens import alter
from tests.proxy.peers import serve
from tests.world import QUICK, Answer, Gateway, GatewayProcess

ISSUER, AUDIENCE = "https://login.example.com", "acp-gateway"


class Issuer:
    """Publishes keys and signs with them, as a company's login does."""

    def __init__(self) -> None:
        self.keys: dict[str, Any] = {"first": rsa.generate_private_key(public_exponent=65537, key_size=2048)}
        self.fetches = 0
        self.answer: Callable[[], web.Response] = self.published
        self.url = ""

    def published(self) -> web.Response:
        entries = []
        for key_id, key in self.keys.items():
            algorithm = jwt.algorithms.ECAlgorithm if isinstance(key, ec.EllipticCurvePrivateKey) else None
            to_jwk = (algorithm or jwt.algorithms.RSAAlgorithm).to_jwk
            entries.append({**json.loads(to_jwk(key.public_key())), "kid": key_id, "use": "sig"})
        return web.json_response({"keys": entries})

    def sign(self, key_id: str = "first", *, algorithm: str = "RS256", **claims: Any) -> str:
        now = int(time.time())
        said = {"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "exp": now + 300, "iat": now, **claims}
        said = {name: value for name, value in said.items() if value is not None}
        return jwt.encode(said, self.keys[key_id], algorithm=algorithm, headers={"kid": key_id})


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    issuer = Issuer()

    async def answer(request: web.Request) -> web.Response:
        issuer.fetches += 1
        return issuer.answer()

    async with serve(answer) as upstream:
        issuer.url = f"{upstream}/jwks.json"
        yield issuer


def of(issuer: Issuer) -> IdentityConfig:
    modes = ("tokens", "jwt")
    return IdentityConfig(modes=modes, jwt_issuer=ISSUER, jwt_audience=AUDIENCE, jwt_jwks_url=issuer.url)


@pytest.fixture
async def gateway(database_url: str, issuer: Issuer) -> AsyncIterator[Gateway]:
    async with GatewayProcess(database_url, attrs.evolve(QUICK, identity=of(issuer))).run() as running:
        yield running


async def ask(gateway: Gateway, token: str) -> Answer:
    return await gateway.call("GET", "/api/projects", headers={"Authorization": f"Bearer {token}"})


async def test_a_jwt_is_its_subject(gateway: Gateway, issuer: Issuer) -> None:
    alice = gateway.sending(Authorization=f"Bearer {issuer.sign()}")
    await alice.register("http://127.0.0.1:1")
    assert (await alice.call("GET", "/api/projects/demo")).json["ownerId"] == "alice"
    bob = gateway.sending(Authorization=f"Bearer {issuer.sign(sub='bob')}")
    assert (await bob.call("GET", "/api/projects/demo")).status == 404
    assert issuer.fetches == 1


WRONG: dict[str, dict[str, Any]] = {
    "has expired": {"exp": 1_700_000_000},
    "has no claim 'exp'": {"exp": None},
    "is not valid yet": {"nbf": 4_000_000_000},
    "is not from the issuer": {"iss": "https://evil.example"},
    "is not for this gateway": {"aud": "another"},
    "has no claim 'aud'": {"aud": None},
    "has no claim 'sub'": {"sub": None},
    "has no valid user id": {"sub": "gateway"},
    "is the user of the gateway's own machine": {"sub": "local"},
    "1 to 200 characters": {"sub": ""},
}


@pytest.mark.parametrize("said", WRONG)
async def test_what_does_not_hold_is_refused_with_why(gateway: Gateway, issuer: Issuer, said: str) -> None:
    token = issuer.sign(**WRONG[said])
    answer = await ask(gateway, token)
    assert (answer.status, answer.json["code"]) == (401, "unauthenticated")
    assert said in answer.json["detail"]
    assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]
    assert token.split(".")[1] not in answer.body.decode()


async def test_clocks_may_differ_a_little(gateway: Gateway, issuer: Issuer) -> None:
    now = int(time.time())
    assert (await ask(gateway, issuer.sign(exp=now - 5, nbf=now + 5))).status == 200


def unsigned(header: dict[str, Any], issuer: Issuer) -> str:
    def part(value: Any) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "exp": int(time.time()) + 300}
    return f"{part(header)}.{part(claims)}."


async def test_no_signature_and_no_signature_by_the_public_key_pass(gateway: Gateway, issuer: Issuer) -> None:
    public = issuer.keys["first"].public_key()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    forged = unsigned({"alg": "HS256", "kid": "first"}, issuer).rstrip(".")
    mac = base64.urlsafe_b64encode(hmac.digest(pem, forged.encode(), hashlib.sha256)).rstrip(b"=").decode()
    others = Issuer()
    for token in (
        unsigned({"alg": "none", "kid": "first"}, issuer),
        unsigned({"alg": "RS256", "kid": "first"}, issuer),
        f"{forged}.{mac}",
        issuer.sign(algorithm="RS512"),
        others.sign(),
        issuer.sign()[:-4] + "AAAA",
        "a.b.c",
        "..",
        unsigned({"alg": "RS256", "kid": {"a": 1}}, issuer) + "x",
        unsigned({"alg": "RS256", "kid": "first", "jwk": {"kty": "oct", "k": "eA"}}, issuer) + "eA",
        "e30.e30." + "x" * 8_000,
    ):
        answer = await ask(gateway, token)
        assert answer.status in (401, 429), token
    assert (await ask(gateway, issuer.sign())).status in (200, 429)


async def test_a_new_key_is_fetched_but_not_for_every_token_that_names_one(
    gateway: Gateway, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await ask(gateway, issuer.sign())).status == 200
    issuer.keys["second"] = ec.generate_private_key(ec.SECP256R1())
    fresh = issuer.sign("second", algorithm="ES256")
    # Too soon after the last one.
    assert (await ask(gateway, fresh)).status == 401
    assert issuer.fetches == 1
    monkeypatch.setattr(jwks, "PAUSE_SECONDS", 0.0)
    assert (await ask(gateway, fresh)).status == 200
    assert issuer.fetches == 2
    monkeypatch.setattr(jwks, "PAUSE_SECONDS", 10.0)
    forged = Issuer()
    forged.keys["third"] = forged.keys["first"]
    for _ in range(5):
        assert (await ask(gateway, forged.sign("third"))).status == 401
    assert issuer.fetches == 2


async def test_known_keys_stay_good_while_the_issuer_is_away(
    gateway: Gateway, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await ask(gateway, issuer.sign())).status == 200
    monkeypatch.setattr(jwks, "FRESH_SECONDS", 0.0)
    monkeypatch.setattr(jwks, "PAUSE_SECONDS", 0.0)
    answers: list[Callable[[], web.Response]] = [
        lambda: web.Response(status=500),
        lambda: web.Response(text="<html>"),
        lambda: web.json_response({"keys": []}),
        lambda: web.json_response({"keys": [{"kty": "oct", "k": "eA", "kid": "first"}]}),
        lambda: web.Response(body=b"x" * (jwks.MAX_BYTES + 1)),
        lambda: web.Response(status=302, headers={"Location": "http://127.0.0.1:1/"}),
    ]
    for answer in answers:
        issuer.answer = answer
        assert (await ask(gateway, issuer.sign())).status == 200
    assert issuer.fetches == 1 + len(answers)


async def test_an_issuer_that_never_answered_is_a_failure_that_passes(gateway: Gateway, issuer: Issuer) -> None:
    issuer.answer = lambda: web.Response(status=500)
    answer = await ask(gateway, issuer.sign())
    assert (answer.status, answer.json["code"]) == (503, "identity_unavailable")


async def test_a_ticket_is_good_as_long_as_the_jwt_that_it_was_got_with(
    gateway: Gateway, issuer: Issuer, database_url: str
) -> None:
    exp = int(time.time()) + 300
    holder = gateway.sending(Authorization=f"Bearer {issuer.sign(exp=exp)}")
    project = await holder.register("http://127.0.0.1:1")
    url = (await project.call("POST", "/events/ticket", {})).json["url"]
    async with gateway.http.get(gateway.url + url) as response:
        assert response.status == 200
    [(until,)] = alter(database_url, "select extract(epoch from expires_at)::bigint from stream_passes")
    assert until == exp + LEEWAY_SECONDS


async def test_a_stream_ends_with_the_jwt_that_it_was_opened_with(
    database_url: str, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access_monitor, "SWEEP_SECONDS", 0.5)
    async with GatewayProcess(database_url, attrs.evolve(QUICK, identity=of(issuer))).run() as gateway:
        holder = gateway.sending(Authorization=f"Bearer {issuer.sign(exp=int(time.time()) - 26)}")
        project = await holder.register("http://127.0.0.1:1")
        async with project.events() as stream:
            assert (await stream.block()).event == "heartbeat"
            with pytest.raises(aiohttp.ClientPayloadError):
                await stream.response.read()


#: Times as an issuer, or whoever has got hold of its key, might write them.
TIMES = st.one_of(
    st.integers(-(10**20), 10**20),
    st.floats(allow_nan=False),
    st.sampled_from([True, False, None, "", "1e400", "99999999999999", [], {}, float("inf"), 1e400, 10**400, -1, 0.5]),
    st.text(max_size=10),
)


@given(claim=st.sampled_from(["exp", "nbf", "iat", "aud", "iss", "sub"]), value=TIMES)
@example(claim="exp", value=10**11 * 4)
@example(claim="exp", value=LAST_TIME)
@example(claim="exp", value=LAST_TIME - 1)
def test_whatever_stands_in_a_claim_is_a_caller_or_a_refusal(claim: str, value: Any) -> None:
    [published] = json.loads(_SIGNER.published().body)["keys"]
    mode = JwtMode(IdentityConfig(modes=("jwt",), jwt_issuer=ISSUER, jwt_audience=AUDIENCE, jwt_jwks_url="http://x"))
    mode._keys._keys = {"first": jwt.PyJWK(published)}
    mode._keys._fetched_at = time.monotonic()
    token = unchecked(_SIGNER, {claim: value})
    headers = CIMultiDictProxy(CIMultiDict({"Authorization": f"Bearer {token}"}))
    try:
        caller = asyncio.run(mode.identify(Presented(headers=headers, peer=None, to_loopback=False)))
    except Unauthenticated:
        return
    assert caller is not None
    assert caller.expires_at is not None
    assert timestamp(caller.expires_at)


_SIGNER = Issuer()


def unchecked(issuer: Issuer, claims: dict[str, Any]) -> str:
    """Signed, whatever the claims are: PyJWT refuses to write some of them."""
    now = int(time.time())
    said = {"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "exp": now + 300, "iat": now, **claims}
    return jwt.api_jws.encode(
        json.dumps(said).encode(), issuer.keys["first"], algorithm="RS256", headers={"kid": "first", "typ": "JWT"}
    )


async def test_a_jwt_for_ever_is_refused_with_what_would_be_right(gateway: Gateway, issuer: Issuer) -> None:
    for exp in (LAST_TIME, 253_402_300_800, 10**15, 1e300, "99999999999"):
        answer = await ask(gateway, unchecked(issuer, {"exp": exp}))
        assert (answer.status, answer.json["code"]) == (401, "unauthenticated"), exp
        assert "the year 9998" in answer.json["detail"]
    assert (await ask(gateway, issuer.sign(exp=LAST_TIME - 1))).status == 200


@pytest.mark.parametrize("nested", ["[", '{"a":'])
async def test_a_header_that_is_nested_too_deep_is_refused(gateway: Gateway, issuer: Issuer, nested: str) -> None:
    assert (await ask(gateway, issuer.sign())).status == 200
    header = base64.urlsafe_b64encode((nested * (6000 // len(nested))).encode()).rstrip(b"=").decode()
    answer = await ask(gateway, f"{header}.e30.AA")
    assert (answer.status, answer.json["code"]) == (401, "unauthenticated")
