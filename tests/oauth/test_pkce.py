"""PKCE against the RFC's own example and against oauthlib."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from oauthlib.oauth2.rfc6749.clients.base import Client

from gateway.oauth.protocol.pkce import Verifier, hash_of, new_state

UNRESERVED = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"


def test_the_challenge_is_that_of_rfc_7636_appendix_b() -> None:
    verifier = Verifier(value="dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")
    assert verifier.challenge == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


@given(st.text(UNRESERVED, min_size=43, max_size=128))
def test_the_challenge_is_what_oauthlib_makes_of_the_same_verifier(value: str) -> None:
    oracle = Client("client").create_code_challenge(value, "S256")
    assert Verifier(value=value).challenge == oracle


@pytest.mark.parametrize("value", ["a" * 42, "a" * 129, "a" * 42 + "+", "a" * 42 + "é", ""])
def test_what_is_no_verifier_is_never_used_as_one(value: str) -> None:
    with pytest.raises(ValueError, match="43 to 128"):
        Verifier(value=value)


def test_each_login_has_a_verifier_and_a_state_of_its_own_with_256_bits_at_least() -> None:
    words = {Verifier.new().value for _ in range(50)} | {new_state() for _ in range(50)}
    assert len(words) == 100
    assert min(map(len, words)) >= 43


def test_a_verifier_is_not_in_what_it_prints() -> None:
    verifier = Verifier.new()
    assert verifier.value not in repr(verifier)


def test_what_is_kept_of_a_state_is_its_sha_256() -> None:
    assert hash_of("state") == hashlib.sha256(b"state").digest()
