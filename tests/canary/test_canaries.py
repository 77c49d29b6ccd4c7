"""The search itself: a canary is found however it is spelled, or all that it does not find would mean nothing."""

import base64
import json
import secrets
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.canary.canaries import Canaries, Witness

SECRET = "canary0123456789abcdef0123456789"


@pytest.mark.parametrize(
    "text",
    [
        f"Authorization: Bearer {SECRET}\n",
        json.dumps({"a": [f"x{SECRET}y"]}),
        quote(f"https://x/?token={SECRET}"),
        repr(f"'{SECRET}'".encode()),
        SECRET.encode().hex(),
        SECRET.encode().hex().upper(),
        f"\\x00{SECRET.encode().hex()}ff",
        SECRET[::-1],
    ],
)
def test_a_canary_is_found_in_each_spelling(text: str) -> None:
    canaries = Canaries()
    canaries.add("token", SECRET)
    assert canaries.found_in(text.encode())
    others = Canaries()
    others.make("another")
    assert not others.found_in(text.encode())


@given(before=st.binary(max_size=9), after=st.binary(max_size=9), secret=st.binary(min_size=24, max_size=32))
def test_a_canary_is_found_in_base64_of_anything_around_it(before: bytes, after: bytes, secret: bytes) -> None:
    canaries = Canaries()
    canaries.add("key", secret)
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        assert canaries.found_in(encode(before + secret + after))


def test_a_witness_tells_where_it_was_and_which() -> None:
    canaries, witness = Canaries(), Witness()
    canaries.make("one")
    two = canaries.make("two")
    witness.note("log", "nothing here")
    witness.note("dump", secrets.token_bytes(10) + two.encode())
    assert witness.leaks(canaries) == {"dump": ["two (plain)"]}


def test_a_secret_may_be_where_it_has_to_be_and_nowhere_else() -> None:
    canaries, witness = Canaries(), Witness()
    canaries.add("ticket", SECRET, shown_in="answers 201")
    witness.note("answers 201", SECRET)
    witness.note("log", SECRET)
    assert set(witness.leaks(canaries)) == {"log"}
