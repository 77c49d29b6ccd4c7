"""Secrets taken out of JSON and of running text."""

import json
import re
import string
import time
from collections.abc import Iterator
from random import Random
from typing import Any

import attrs
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


def test_unusual_spelling_is_found_without_a_pattern_as_long_as_the_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those are compiled for seconds, in which the process does nothing else."""
    long = [f"{kind}-{string.ascii_letters * 40}" for kind in ("access", "refresh")]
    patterns: list[Any] = []
    compiled = re.compile

    def compile(pattern: Any, flags: int = 0) -> Any:
        patterns.append(pattern)
        return compiled(pattern, flags)

    monkeypatch.setattr(re, "compile", compile)
    escaped = "".join(f"\\u{ord(char):04x}" for char in long[1])
    raw = json.dumps({"a": f"b \\u003c{escaped}\\u003e"}).encode()
    assert json.loads(Masker(long).mask(raw)) == {"a": f"b \\u003c{MASK}\\u003e"}
    assert max(map(len, patterns), default=0) < 100


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


def test_of_a_piece_that_ends_a_secret_all_but_its_text_stays_the_bytes_that_came() -> None:
    running, masker = RunningText(), Masker([PLAIN])
    form = (
        b'{"update" : {"text": "no", "n": [1e400, 1.0, {"content": {"text": "no"}}], "content": {"x": 0.10, '
        b'"text" : "%b", "y": "\\ud800"}, "sessionUpdate": "agent_message_chunk"}, "content": {"text": "no"}}'
    )
    running.update(form % PLAIN[:6].encode(), masker)
    assert running.update(form % PLAIN[6:].encode(), masker) == form % b"***"


@pytest.mark.parametrize("secret", [SECRET, PLAIN])
def test_of_a_secret_that_a_growing_output_ends_amid_its_first_characters_are_told_at_most(secret: str) -> None:
    for cut in range(1, len(secret)):
        output = {"output": f"TOKEN={secret[:cut]}"}
        raw = json.dumps({"update": {"sessionUpdate": "tool_call_update", "rawOutput": output}}).encode()
        told = json.loads(RunningText().update(raw, Masker([secret])))["update"]["rawOutput"]["output"]
        assert told == "TOKEN=" + (secret[:cut] if cut <= 8 else secret[:8] + MASK)


def test_end_of_a_text_that_does_not_grow_is_told_as_it_is() -> None:
    raw = json.dumps({"update": {"sessionUpdate": "plan", "entries": [{"content": PLAIN[:12]}]}}).encode()
    assert RunningText().update(raw, Masker([PLAIN])) is raw


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


def test_a_secret_that_holds_another_is_masked_however_it_is_split() -> None:
    running, masker = RunningText(), Masker(["00000100000100000000", "000000"])
    text = 2 * "00000100000100000000"
    told = "".join(
        text_of(running.update(update(text[begin:end]), masker)) for begin, end in ((0, 7), (7, 34), (34, 40))
    )
    assert "000001000" not in told


@given(st.text(max_size=40), st.lists(st.integers(1, 9), max_size=20))
def test_text_without_a_secret_is_told_as_it_is(text: str, cuts: list[int]) -> None:
    running, masker = RunningText(), Masker([PLAIN])
    told, place = "", 0
    for length in [*cuts, len(text) + 1]:
        told += text_of(running.update(update(text[place : place + length]), masker))
        place += length
    assert told == text


@pytest.mark.parametrize(
    ("secret", "raw", "masked"),
    [
        ("sessionId", b'{"sessionId" : "s1", "a": "sessionId"}', b'{"sessionId" : "s1", "a": "***"}'),
        ("12345678", b'{"id":12345678,"n":[-12345678e0]}', None),
        ("12345678", b'{"id": 12345678, "text": "12345678"}', b'{"id": 12345678, "text": "***"}'),
        (
            PLAIN,
            b'[1e400, 1.0, 1, 1E5, -0, %d, "%b"]' % (3**99, PLAIN.encode()),
            b'[1e400, 1.0, 1, 1E5, -0, %d, "***"]' % 3**99,
        ),
        (PLAIN, b'{"b":1,"a":"%b","b":2}' % PLAIN.encode(), b'{"b":1,"a":"***","b":2}'),
        (PLAIN, b'["\\ud800 %b"]' % PLAIN.encode(), b'["\\ud800 ***"]'),
    ],
)
def test_all_but_the_texts_that_hold_a_secret_stays_the_bytes_that_came(
    secret: str, raw: bytes, masked: bytes | None
) -> None:
    assert Masker([secret]).mask(raw) == (raw if masked is None else masked)


def test_what_no_name_can_be_is_masked_as_a_name_too() -> None:
    assert Masker([PLAIN]).mask(b'{"%b": "x"}' % PLAIN.encode()) == b'{"***": "x"}'


@pytest.mark.parametrize("raw", [b"refused: %b", b'{"error": "%b', b'"%b" \xff', b"<p title='%b'>", b'{%b: ""}'])
def test_secret_is_masked_in_what_is_no_json(raw: bytes) -> None:
    assert Masker([PLAIN]).mask(raw % PLAIN.encode()) == raw % b"***"


def test_mask_makes_up_no_other_secret() -> None:
    assert (
        Masker(["******", "secret-of-ann", "x***yz"]).mask(b'["************", "xsecret-of-annyz"]') == b'["***", "***"]'
    )


def spelled(document: Any, draw: Any) -> str:
    """The document as any JSON writer may write it."""
    match document:
        case str():
            return '"' + "".join(draw(st.sampled_from(spellings_of(char))) for char in document) + '"'
        case list():
            return "[" + draw(SPACES) + ("," + draw(SPACES)).join(spelled(item, draw) for item in document) + "]"
        case dict():
            members = (
                f"{spelled(name, draw)}{draw(SPACES)}:{spelled(value, draw)}" for name, value in document.items()
            )
            return "{" + f",{draw(SPACES)}".join(members) + "}"
        case Number(text):
            return text
    return json.dumps(document)


def spellings_of(char: str) -> list[str]:
    units = char.encode("utf-16-be", "surrogatepass").hex()
    escaped = "".join(f"\\u{units[place : place + 4]}" for place in range(0, len(units), 4))
    as_it_is = [] if char in '"\\' or char < " " or "\ud800" <= char <= "\udfff" else [char]
    return [
        *as_it_is,
        json.dumps(char)[1:-1],
        escaped,
        escaped.upper().replace("U", "u"),
        *(["\\/"] if char == "/" else []),
    ]


@attrs.frozen
class Number:
    """A number as it is written: no reader of JSON that makes floats of them can tell all of these apart."""

    text: str


@given(secret=st.text(st.sampled_from('au0041bc1/"\\\n\x01é\U0001f511'), min_size=6, max_size=12), data=st.data())
def test_secret_in_a_json_within_a_text_is_masked_however_it_is_spelled(secret: str, data: st.DataObject) -> None:
    inner = "".join(data.draw(st.sampled_from(spellings_of(char))) for char in secret)
    around = st.lists(st.sampled_from(["z", "\\\\", "u0041", "/", '\\"']), max_size=3).map("".join)
    before, after = data.draw(around), data.draw(around)
    masked = Masker([secret]).mask_text(f"{before}{inner}{after}")
    assert inner not in masked
    assert MASK in masked


@pytest.mark.parametrize("before", ["", "\\", "\\\\", "\\\\\\", "\\u003c"])
def test_secret_is_found_whatever_backslashes_its_escapes_come_after(before: str) -> None:
    masked = Masker([PLAIN]).mask_text(f"{before}\\u0067{PLAIN[1:]}.")
    assert masked == f"{before}{MASK}."


SPACES = st.sampled_from(["", " ", "\n\t"])
NUMBERS = st.sampled_from(
    ["0", "-0", "1", "1.0", "1e400", "12345678", "-1.50E+3", str(3**99), "0.10000000000000000555"]
)
ALPHABET = st.sampled_from('abA1/"\\\n*é\U0001f511\ud800')
NEEDLES = st.lists(
    st.one_of(st.text(ALPHABET, min_size=6, max_size=9), st.sampled_from(["12345678", "sessionId"])),
    min_size=1,
    max_size=3,
)


def read(raw: bytes) -> Any:
    """What stands there, numbers as they are written, members in their order, each of them."""
    text = raw.decode("utf-8", "surrogatepass")
    return json.loads(text, parse_int=Number, parse_float=Number, object_pairs_hook=tuple)


def texts_in(read: Any) -> Iterator[str]:
    """All values that are texts."""
    match read:
        case str():
            yield read
        case list():
            for item in read:
                yield from texts_in(item)
        case tuple():
            for _, value in read:
                yield from texts_in(value)


def without_texts(read: Any) -> Any:
    match read:
        case str():
            return ""
        case list():
            return [without_texts(item) for item in read]
        case tuple():
            return tuple((name, without_texts(value)) for name, value in read)
    return read


@given(secrets=NEEDLES, data=st.data())
def test_no_text_holds_a_secret_and_all_else_is_as_it_was(secrets: list[str], data: st.DataObject) -> None:
    text = st.lists(st.one_of(st.sampled_from(secrets), st.text(ALPHABET, max_size=3)), max_size=3).map("".join)
    plain = st.one_of(text, st.none(), st.booleans(), NUMBERS.map(Number))
    documents = st.recursive(
        plain,
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(text, inner, max_size=3)),
        max_leaves=6,
    )
    raw = spelled(data.draw(documents), data.draw).encode("utf-8", "surrogatepass")
    before = read(raw)
    masker = Masker(secrets)
    masked = masker.mask(raw)
    after = read(masked)
    assert not [text for text in texts_in(after) for secret in secrets if secret in text]
    assert without_texts(after) == without_texts(before)
    for was, told in zip(texts_in(before), texts_in(after), strict=True):
        # A backslash in a text may be of a JSON in it.
        assert told == was or "\\" in was or any(secret in was for secret in secrets)


def test_value_is_masked_at_any_depth() -> None:
    value: Any = {"a": [{"b": f"x{PLAIN}"}], "c": 1.5}
    assert Masker([PLAIN]).mask_value(value) == {"a": [{"b": "x***"}], "c": 1.5}


def test_the_beginning_of_a_secret_at_a_text_s_end_is_found_as_by_trying_each_length() -> None:
    random = Random(1)
    for _ in range(3_000):
        secrets = ["".join(random.choices("ab", k=random.randint(6, 24))) for _ in range(2)]
        text = "".join(random.choices("ab", k=random.randint(0, 30)))
        text += random.choice(secrets)[: random.randint(0, 23)]
        ends = [
            length
            for secret in secrets
            for length in range(1, min(len(secret), len(text) + 1))
            if secret.startswith(text[-length:])
        ]
        assert Masker(secrets).begun(text)[1] == max(ends, default=0), (secrets, text)


def test_a_text_full_of_a_long_secret_s_first_character_costs_about_what_any_text_costs() -> None:
    masker = Masker([f"a{'0123456789' * 3_000}"])

    def seconds(text: str) -> float:
        best = float("inf")
        for _ in range(3):
            start = time.process_time()
            masker.begun(text)
            best = min(best, time.process_time() - start)
        return best

    assert seconds("a" * 30_000) < max(0.002, 20 * seconds("b" * 30_000))
