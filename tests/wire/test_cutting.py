"""Documents that are too large are cut to their beginnings, however they arrive."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.cutting import CUT, MAX_ENTRIES, MAX_LEVELS, MAX_STRING, Cutter, cut
from gateway.wire.sse import OversizedEvent, SSEEvent, SSEParser

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)
NESTED: Any = 1
for _ in range(100):
    NESTED = {"a": NESTED}
LARGE: dict[str, Any] = {
    "a text": "x" * 3_000_000,
    "escapes": '"\\\n😀' * 300_000,
    "a list": list(range(500_000)),
    "members": {str(number): number for number in range(300_000)},
    "objects": [{"kind": "other", "name": str(number)} for number in range(100_000)],
    "levels": [NESTED] * 2000,
}


@given(st.dictionaries(st.text(max_size=8), values, max_size=5), st.booleans(), st.integers(1, 50))
def test_what_is_not_too_large_is_the_same_however_it_arrives(value: dict[str, Any], is_ascii: bool, size: int) -> None:
    document = json.dumps(value, ensure_ascii=is_ascii, indent=1).encode()
    whole = cut(document)
    assert whole is not None
    assert json.loads(whole) == {CUT: True, **value}
    cutter = Cutter()
    for start in range(0, len(document), size):
        cutter.feed(document[start : start + size])
    assert cutter.finish() == whole


@pytest.mark.parametrize("what", LARGE)
def test_what_decides_is_kept_behind_what_is_too_large(what: str) -> None:
    call = {"content": LARGE[what], "kind": "execute", "title": "Run it"}
    data = {what: LARGE[what], "toolCall": call, "options": [{"optionId": "yes"}], "requestId": "r1"}
    document = json.dumps({"sessionId": "s", "data": data, "timestamp": "now"}).encode()
    cutter = Cutter()
    for start in range(0, len(document), 16_384):
        cutter.feed(document[start : start + 16_384])
    kept = cutter.finish()
    assert kept == cut(document)
    assert kept is not None
    assert len(kept) < 3_000_000
    told = json.loads(kept)
    assert (told["sessionId"], told["timestamp"], told["data"]["requestId"]) == ("s", "now", "r1")
    assert told["data"]["options"] == [{"optionId": "yes"}]
    assert (told["data"]["toolCall"]["kind"], told["data"]["toolCall"]["title"]) == ("execute", "Run it")


def test_of_texts_lists_and_levels_the_first_are_kept() -> None:
    kept = json.loads(cut(json.dumps({"t": "x" * 9000, "l": list(range(9000)), "n": NESTED}).encode()) or b"")
    assert kept["t"] == "x" * MAX_STRING
    assert kept["l"] == list(range(MAX_ENTRIES))
    depth, inner = 1, kept["n"]
    while inner is not None:
        depth, inner = depth + 1, inner["a"]
    assert depth == MAX_LEVELS


@given(st.binary(max_size=200), st.integers(1, 20))
def test_bytes_that_are_no_document_do_no_harm(data: bytes, size: int) -> None:
    cutter = Cutter()
    for start in range(0, len(data), size):
        cutter.feed(b"[{" + data[start : start + size])
    cutter.finish()
    assert cut(data) is None or data.lstrip().startswith(b"{")


@pytest.mark.parametrize("size", [100, 3001, 16_384, 10_000_000])
@pytest.mark.parametrize("limits", [{"max_event_bytes": 100}, {"max_event_bytes": 90_000}, {"max_event_values": 3}])
@pytest.mark.parametrize("order", [("event", "data"), ("data", "event")])
def test_an_event_of_a_kind_that_is_cut_is_cut_and_others_are_skipped(
    size: int, limits: dict[str, int], order: tuple[str, str]
) -> None:
    document = {"data": {"text": "y" * 100_000, "list": list(range(9)), "requestId": "r"}}
    fields = {"event": "event: asked\n", "data": f"data: {json.dumps(document)}\n"}
    pretty = "".join(f"data: {line}\n" for line in json.dumps(document, indent=1).split("\n"))
    for data in (fields["data"], pretty):
        block = "id: 1\n" + "".join({**fields, "data": data}[name] for name in order) + "\n"
        stream = (block + "id: 2\ndata: next\n\n").encode()
        for cuts, kind in ((("asked",), SSEEvent), (("other",), OversizedEvent), ((), OversizedEvent)):
            parser = SSEParser(**limits, cuts=cuts)
            found = [one for at in range(0, len(stream), size) for one in parser.feed(stream[at : at + size])]
            assert [one.id for one in found] == ["1", "2"]
            assert type(found[0]) is kind
            if isinstance(found[0], SSEEvent):
                assert json.loads(found[0].data)["data"]["requestId"] == "r"
