"""Bodies into values: strictly, with the place of what is wrong."""

from typing import Any

import attrs
import pytest

from gateway.wire.codec import (
    MAX_DEPTH,
    MAX_FLAWS,
    MAX_FOREIGN_VALUES,
    MAX_VALUES,
    DecodeError,
    decode,
    dump_foreign_json,
    dump_json,
    members_of,
    parse_foreign_json,
    parse_json,
    refuse_twice,
    to_camel,
)


@attrs.frozen(kw_only=True)
class Part:
    name: str
    how_many: int = 1
    share: float | None = None
    tags: list[str] = attrs.field(factory=list)


@attrs.frozen(kw_only=True)
class Whole:
    main_part: Part | None = None
    parts: list[Part] = attrs.field(factory=list)
    env: dict[str, str] | None = None
    anything: Any = None


@pytest.mark.parametrize(
    ("raw", "complaint"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b"\xff", "not valid JSON"),
        (b"[]", "$: must be an object, not a list"),
        (b'"x"', "$: must be an object, not a string"),
        (b'{"mainPart": {}}', "$.mainPart.name: missing"),
        (b'{"mainPart": {"name": 5}}', "$.mainPart.name: must be a string, not a number"),
        (b'{"mainPart": {"name": "a", "howMany": "5"}}', "$.mainPart.howMany: must be a whole number, not a string"),
        (b'{"mainPart": {"name": "a", "howMany": true}}', "must be a whole number, not true or false"),
        (b'{"mainPart": {"name": "a", "share": "1"}}', "$.mainPart.share: must be a number, not a string"),
        (b'{"parts": {}}', "$.parts: must be a list, not an object"),
        (b'{"parts": [{"name": "a"}, 3]}', "$.parts[1]: must be an object, not a number"),
        (b'{"parts": [{"name": "a", "tags": ["x", null]}]}', "$.parts[0].tags[1]: must be a string, not null"),
        (b'{"env": []}', "$.env: must be an object, not a list"),
        (b'{"env": {"A": 1}}', "must be a string, not a number"),
        (b'{"main_part": null}', "$.main_part: unknown (known here: mainPart, parts, env, anything)"),
    ],
)
def test_what_does_not_fit_is_named_with_its_place(raw: bytes, complaint: str) -> None:
    with pytest.raises(DecodeError) as failure:
        decode(Whole, raw)
    assert complaint in str(failure.value)


def test_all_that_is_wrong_is_named_at_once() -> None:
    with pytest.raises(DecodeError) as failure:
        decode(Whole, b'{"parts": 1, "env": 2, "more": 3}')
    for place in ("$.parts", "$.env", "$.more"):
        assert place in str(failure.value)


def test_a_value_goes_out_as_it_came_in() -> None:
    raw = b'{"mainPart":{"name":"a","howMany":2,"share":0.5,"tags":["x"]},"parts":[],"env":{"A":"b"},"anything":[1]}'
    assert dump_json(decode(Whole, raw)) == raw


def test_foreign_json_keeps_half_surrogate_pairs() -> None:
    assert dump_foreign_json(parse_foreign_json(b'{"a":"\\ud800"}')) == b'{"a":"\\ud800"}'


def test_what_is_no_number_in_json_leaves_foreign_json_as_null() -> None:
    raw = b'{"a":"\\ud800","b":[NaN,Infinity,-Infinity,1e400,1.5]}'
    assert dump_foreign_json(parse_foreign_json(raw)) == b'{"a":"\\ud800","b":[null,null,null,null,1.5]}'


@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 450, 900, MAX_VALUES - 2])
@pytest.mark.parametrize(("before", "after"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_json_that_is_nested_too_deeply_is_refused(depth: int, before: bytes, after: bytes) -> None:
    with pytest.raises(DecodeError, match="nested too deeply"):
        parse_json(before * depth + b"1" + after * depth)


def test_json_may_be_wide_and_as_deep_as_is_allowed() -> None:
    deepest = b"[" * MAX_DEPTH + b"]" * MAX_DEPTH
    assert dump_json(parse_json(deepest)) == deepest
    assert len(parse_json(b"[%b]" % b",".join([b"[[]]"] * 1000))) == 1000


def test_names_are_camel_case_outside() -> None:
    assert [to_camel(name) for name in ("id", "agent_id", "a_b_c")] == ["id", "agentId", "aBC"]


def test_of_many_flaws_the_first_are_named_and_the_others_counted() -> None:
    parts = b",".join([b'{"name": 5}'] * 1000)
    with pytest.raises(DecodeError, match=r"\$\.parts\[0\]\.name: .*; and 995 more$") as failure:
        decode(Whole, b'{"parts": [%b]}' % parts)
    assert str(failure.value).count("must be a string") == MAX_FLAWS
    names = b",".join(b'"%b%d": 0' % (b"n" * 1000, number) for number in range(100))
    with pytest.raises(DecodeError, match=r"; and 95 more$") as failure:
        decode(Whole, b"{%b}" % names)
    assert len(str(failure.value)) < 2000


def test_what_has_more_values_than_anybody_means_is_refused_before_one_is_made() -> None:
    assert len(parse_json(b"[" + b"0," * (MAX_VALUES - 2) + b"0]")) == MAX_VALUES - 1
    for raw in (b"[" + b"0," * MAX_VALUES + b"0]", b"[" + b"[]," * MAX_VALUES + b"0]", b'["",' + b'"",' * 1_000_000):
        with pytest.raises(DecodeError, match="too much in it"):
            parse_json(raw)


def test_a_text_may_be_full_of_what_divides_values() -> None:
    text = '[{,:"\\' * MAX_VALUES
    assert parse_json(dump_json({"a": [text, text]})) == {"a": [text, text]}


def test_a_member_that_comes_twice_is_found_at_any_depth() -> None:
    for raw, name in ((b'{"a": 1, "b": {"c": [{"d": 1, "d:": 2, "d": 3}]}}', "'d'"), (b'{"a": ":", "a": 2}', "'a'")):
        with pytest.raises(DecodeError, match=f"the member {name} comes more than once"):
            refuse_twice(parse_json(raw), raw)
    raw = b'{"a": ":", "b": {"a": "\\\\\\":"}, "c:": [{"a": 1}, {"a": 1}]}'
    refuse_twice(parse_json(raw), raw)


def test_of_a_large_object_only_members_that_the_protocols_know_are_read() -> None:
    flood = b",".join(b'"m%d":0' % number for number in range(MAX_FOREIGN_VALUES))
    assert members_of(b'{%b,"requestId":"r1"}' % flood) == {"requestId": b'"r1"'}
    assert members_of(b'{%b,"requestId":"\\ud800"}' % flood) == {}
    assert members_of(b'{"a":1,"requestId":"\\ud800"}') == {"a": b"1", "requestId": b'"\\ud800"'}
    large = b"[" + b"0," * MAX_FOREIGN_VALUES + b"0]"
    assert members_of(b'{"update":%b}' % large) == {"update": large}


def test_what_is_no_object_has_no_members() -> None:
    assert members_of(b' [{"requestId":"r1"}]') == {}
    assert members_of(b" \n{}") == {}
