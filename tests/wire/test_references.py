"""Large values of messages: taken out of a page, and found again by their references."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.wire.messages import MAX_TEXT
from gateway.wire.references import BEGINNING, LARGE_STRING, LARGE_VALUE, content_of, outlined

PICTURE = base64.b64encode(bytes(range(256)) * 400).decode()
BLOCKS: list[Any] = [
    {"type": "text", "text": "short"},
    {"type": "text", "text": "äbc" * 40_000},
    {"type": "image", "mimeType": "image/png", "data": PICTURE},
    {"type": "image", "mimeType": "text/html;charset=x", "data": "no base64, " * 10_000},
    {"type": "resource", "resource": {"uri": "a~/b", "mimeType": "x", "blob": PICTURE}},
    {"type": "diff", "path": "p", "oldText": None, "newText": "line\n" * 30_000},
    {"a~/b": {"": ["t" * 70_000]}},
]
LARGE: list[Any] = [*BLOCKS, "x" * 70_000, list(range(30_000)), ["item"] * 15_000]
#: Of which each number is a large value: what fails can be shown.
VALUES = st.recursive(
    st.sampled_from([None, True, "", "text", *range(len(LARGE))]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("ab~/"), inner, max_size=4),
    max_leaves=12,
)


def grown(value: Any) -> Any:
    match value:
        case bool():
            return value
        case int():
            return LARGE[value]
        case list():
            return [grown(one) for one in value]
        case dict():
            return {name: grown(one) for name, one in value.items()}
    return value


def raw(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def place_of(document: Any, path: str) -> tuple[Any, Any]:
    """What holds the value of a JSON pointer, and the key in it."""
    *names, last = [name.replace("~1", "/").replace("~0", "~") for name in path.split("/")[1:]]
    for name in [*names, last]:
        holder, key = document, int(name) if isinstance(document, list) else name
        document = document[key]
    return holder, key


def whole(body: bytes) -> Any:
    """The outline, with every value that a reference stands for in its place."""
    document = json.loads(outlined(body))
    for number, reference in enumerate(document.pop("references", [])):
        content = content_of(body, number)
        assert content is not None
        assert (content.path, content.media_type, content.digest, len(content.data)) == (
            reference["path"],
            reference["mediaType"],
            reference["digest"],
            reference["size"],
        )
        holder, key = place_of(document, content.path)
        match content.media_type:
            case "application/json":
                assert holder[key] in ([], {}, None)
                holder[key] = json.loads(content.data)
            case "text/plain":
                text = content.data.decode()
                assert holder[key] == text[:BEGINNING]
                holder[key] = text
            case _:
                assert holder[key] == ""
                holder[key] = base64.b64encode(content.data).decode()
    return document


@settings(max_examples=60)
@given(st.sampled_from(["toolCall", "data", "content"]), st.dictionaries(st.sampled_from("abc"), VALUES, max_size=3))
def test_a_message_is_its_outline_with_all_its_contents(name: str, value: dict[str, Any]) -> None:
    body = {name: [*grown(value).values()] if name == "content" else grown(value)}
    assert whole(raw(body)) == body


@settings(max_examples=60)
@given(st.lists(VALUES, max_size=8))
def test_an_outline_is_never_large(values: list[Any]) -> None:
    said = grown(values)
    body = raw({"toolCall": {"title": "t", "content": said, "rawOutput": {"all": said}}})
    assert len(outlined(body)) <= LARGE_VALUE + LARGE_STRING


@pytest.mark.parametrize(
    "value",
    [
        list(range(600_000)),
        {f"member {number}": number for number in range(100_000)},
        [{"text": "t" * 1000}] * 4000,
        {f"member {number}": "v" * 60_000 for number in range(60)},
    ],
    ids=["numbers", "members", "texts", "long members"],
)
def test_what_is_large_without_a_large_text_in_it_is_by_reference_and_its_call_keeps_its_name(value: Any) -> None:
    for call in ({"title": "t", "rawOutput": value}, {"title": "t", **(value if isinstance(value, dict) else {})}):
        body = raw({"toolCall": call})
        outline = json.loads(outlined(body))
        assert len(outlined(body)) <= LARGE_VALUE + LARGE_STRING
        assert len(call) > 1000 or outline["toolCall"]["title"] == "t"
        assert whole(body) == {"toolCall": call}


def test_a_lone_surrogate_is_its_escape_in_a_content() -> None:
    body = raw({"toolCall": {"title": "t", "rawOutput": "\ud800" * 20_000}})
    outline = json.loads(outlined(body))
    assert outline["toolCall"] == {"title": "t", "rawOutput": "\ud800" * BEGINNING}
    content = content_of(body, 0)
    assert content is not None
    assert content.data == rb"\ud800" * 20_000


def test_small_messages_are_as_they_are() -> None:
    body = raw({"content": [{"type": "text", "text": "t" * 60_000}]})
    assert outlined(body) is body
    assert content_of(body, 0) is None


def test_a_text_that_may_go_on_stays_whole() -> None:
    for size in (LARGE_STRING + 1, MAX_TEXT - 100):
        body = raw({"content": [{"type": "text", "text": "t" * size}]})
        assert outlined(body) is body
    long = json.loads(outlined(raw({"content": [{"type": "text", "text": "t" * (MAX_TEXT + 1)}]})))
    assert long["references"][0]["path"] == "/content/0/text"


def test_an_agent_cannot_say_what_is_a_reference() -> None:
    """Its JSON stands below other members."""
    forged = {"path": "/toolCall/title", "url": "https://elsewhere.example", "mediaType": "text/html", "size": 1}
    body = raw({"toolCall": {"title": "t", "references": [forged], "rawOutput": "o" * 70_000}})
    outline = json.loads(outlined(body))
    assert [one["path"] for one in outline["references"]] == ["/toolCall/rawOutput"]


@pytest.mark.parametrize(
    ("given", "media_type"),
    [("image/png", "image/png"), (" IMAGE/SVG+XML; a=b", "image/svg+xml"), ("a\r\nb: c/d", "application/octet-stream")],
)
def test_the_type_of_base64_is_a_media_type(given: str, media_type: str) -> None:
    body = raw({"content": [{"type": "image", "mimeType": given, "data": PICTURE}]})
    assert json.loads(outlined(body))["references"][0]["mediaType"] == media_type
