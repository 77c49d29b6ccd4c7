"""Secrets taken out of JSON and of running text."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.masking import MASK, Masker, RunningText, secrets_in

SECRET = 'sk-ant-oat01-AbCd/eF_gh"Ij\\Kl-0123456789'
PLAIN = "gho_16C7e42F292c6912E7710c838347Ae178B4a"


def update(text: str, kind: str = "agent_message_chunk") -> bytes:
    content = {"type": "text", "text": text}
    return json.dumps({"sessionId": "acp", "update": {"sessionUpdate": kind, "content": content}}).encode()


def text_of(raw: bytes) -> str:
    return str(json.loads(raw)["update"]["content"]["text"])


@pytest.mark.parametrize(
    "spelled",
    [
        json.dumps(SECRET),
        json.dumps(SECRET).replace("/", "\\/"),
        json.dumps(json.dumps(SECRET)),
        "".join(['"', *(f"\\u{ord(char):04x}" for char in SECRET), '"']),
        "".join(['"', *(f"\\u{ord(char):04X}" if char in "/-" else json.dumps(char)[1:-1] for char in SECRET), '"']),
    ],
)
def test_secret_is_masked_however_json_spells_it(spelled: str) -> None:
    masked = Masker([SECRET]).mask(b'{"a": [1, %b], "b": "x"}' % spelled.encode())
    assert json.loads(masked)["a"][1] in (MASK, f'"{MASK}"')
    assert json.loads(masked)["b"] == "x"


def test_json_without_a_secret_stays_the_bytes_that_came() -> None:
    raw = b'{ "a" : "\\u0041\\u001b[0m ' + SECRET[:-1].replace("\\", "\\\\").replace('"', '\\"').encode() + b'" }'
    assert Masker([SECRET]).mask(raw) is raw
    assert Masker().mask(raw) is raw


def test_secret_that_holds_another_is_masked_whole() -> None:
    assert Masker([PLAIN, PLAIN + "-suffix"]).mask_text(f"a {PLAIN}-suffix b {PLAIN} c") == "a *** b *** c"


def test_words_are_no_secrets_and_a_credential_s_json_holds_several() -> None:
    assert secrets_in("word") == frozenset()
    session = json.dumps({"accessToken": PLAIN, "tenantURL": "https://e1.example/", "scopes": ["read"]})
    assert secrets_in(session) >= {session, PLAIN}
    assert "read" not in secrets_in(session)


def test_event_that_quotes_a_secret_in_a_tool_s_output_is_masked() -> None:
    raw = json.dumps({"update": {"sessionUpdate": "tool_call_update", "rawOutput": {"o": f"TOKEN={PLAIN}\n"}}}).encode()
    masked = RunningText().update(raw, Masker([PLAIN]))
    assert json.loads(masked)["update"]["rawOutput"] == {"o": "TOKEN=***\n"}


@pytest.mark.parametrize("secret", [SECRET, PLAIN])
def test_of_a_secret_split_at_any_place_its_first_characters_are_told_at_most(secret: str) -> None:
    for cut in range(1, len(secret)):
        running, masker = RunningText(), Masker([secret])
        pieces = [f"It is {secret[:cut]}", f"{secret[cut:]}, I think"]
        told = [text_of(running.update(update(piece), masker)) for piece in pieces]
        assert told[0] == "It is " + (secret[:cut] if cut <= 8 else secret[:8] + MASK)
        assert told[1] == (MASK if cut <= 8 else "") + ", I think"


def test_thoughts_and_messages_run_apart() -> None:
    running, masker = RunningText(), Masker([PLAIN])
    half, rest = PLAIN[:5], PLAIN[5:]
    running.update(update(half), masker)
    assert text_of(running.update(update("hm", "agent_thought_chunk"), masker)) == "hm"
    assert text_of(running.update(update(rest), masker)) == MASK


def test_text_that_only_begins_like_a_secret_goes_on_after_the_mask() -> None:
    running, masker = RunningText(), Masker([PLAIN])
    assert text_of(running.update(update(PLAIN[:12]), masker)) == PLAIN[:8] + MASK
    assert text_of(running.update(update(" is how they begin"), masker)) == " is how they begin"


secrets = st.lists(st.text(st.sampled_from('abAB01-_"\\/é'), min_size=6, max_size=24), min_size=1, max_size=3)


@given(secrets=secrets, data=st.data())
def test_no_secret_is_told_however_it_is_split(secrets: list[str], data: st.DataObject) -> None:
    words = st.one_of(st.sampled_from(secrets), st.text(st.sampled_from("abAB01 -"), max_size=6))
    text = "".join(data.draw(st.lists(words, max_size=6)))
    running, masker = RunningText(), Masker(secrets)
    told, place = "", 0
    while place < len(text):
        length = data.draw(st.integers(1, 30))
        told += text_of(running.update(update(text[place : place + length]), masker))
        place += length
    for secret in secrets:
        assert secret not in told
        assert len(secret) <= 16 or secret[:9] not in told


@given(st.text(max_size=40), st.lists(st.integers(1, 9), max_size=20))
def test_text_without_a_secret_is_told_as_it_is(text: str, cuts: list[int]) -> None:
    running, masker = RunningText(), Masker([PLAIN])
    told, place = "", 0
    for length in [*cuts, len(text) + 1]:
        told += text_of(running.update(update(text[place : place + length]), masker))
        place += length
    assert told == text


def test_value_is_masked_at_any_depth() -> None:
    value: Any = {"a": [{"b": f"x{PLAIN}"}], "c": 1.5}
    assert Masker([PLAIN]).mask_value(value) == {"a": [{"b": "x***"}], "c": 1.5}
