"""What a browser brings back and what a person pastes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.oauth.protocol.callbacks import Callback, UnreadableCallback


@pytest.mark.parametrize(
    "text",
    [
        "https://localhost:1455/auth/callback?code=c1&state=s1",
        "  https://localhost:1455/auth/callback?code=c1&\n   state=s1\r\n",
        "HTTP://localhost/x?state=s1&code=c1&extra=1#frag",
        "c1#s1",
        " c1#s1 \n",
        "c\n1#s\n1",
        "'c1#s1'",
        "<c1#s1>",
        "?code=c1&state=s1",
        "code=c1&state=s1",
    ],
)
def test_a_code_and_its_state_are_found_in_all_that_people_paste(text: str) -> None:
    assert Callback.of_pasted(text) == Callback(code="c1", state="s1")


def test_a_bare_code_has_no_state() -> None:
    assert Callback.of_pasted(" ac_Xy-9 ") == Callback(code="ac_Xy-9")


def test_an_error_is_an_answer_too_and_has_its_issuer() -> None:
    found = Callback.of_pasted("https://x/cb?error=access_denied&error_description=no+way&iss=https%3A%2F%2Fid.example")
    assert found == Callback(error="access_denied", error_description="no way", iss="https://id.example")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        ("   ", "empty"),
        ("x" * 9000, "longer than"),
        ("https://x/callback", "no code in it"),
        ("https://x/cb?code=a&code=b&state=s", "code comes more than once"),
        ("https://x/cb?code=a&state=s&state=t", "state comes more than once"),
        ("https://x/cb?code=a&error=b&state=s", "both a code and an error"),
        ("https://x/cb?state=s", "neither a code nor an error"),
        ("https://[x/cb?code=a", "no address"),
        ("#state", "neither an address"),
        ("a#b#c", "neither an address"),
        ("kød", "characters"),
        ("a\0b", "characters"),
    ],
)
def test_what_is_no_answer_is_told_with_its_reason(text: str, said: str) -> None:
    with pytest.raises(UnreadableCallback, match=said):
        Callback.of_pasted(text)


@given(st.text())
def test_any_text_is_an_answer_or_unreadable(text: str) -> None:
    try:
        found = Callback.of_pasted(text)
    except UnreadableCallback:
        return
    assert (found.code is None) != (found.error is None)


def test_no_code_and_no_state_is_in_what_it_prints() -> None:
    assert "canary" not in repr(Callback(code="canary", state="canary"))
