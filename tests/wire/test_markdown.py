"""Messages as Markdown: readable, and nothing in them leaves its place."""

import json
import re
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.markdown import fence, heading, inline, message, quote
from gateway.wire.messages import Message
from gateway.wire.sentences import Sentences

AT = datetime(2026, 11, 22, 12, tzinfo=UTC)


def shown(role: str, body: Any) -> str:
    return "".join(
        message(
            Message(
                first_seq=1,
                last_seq=2,
                role=role,
                turn_id="t",
                tool_call_id=None,
                at=AT,
                updated_at=AT,
                body=json.dumps(body).encode(),
            ),
            Sentences(),
        )
    )


def test_what_was_said_is_quoted_under_who_said_it() -> None:
    text = shown("assistant", {"content": [{"type": "text", "text": "# No heading\n```\nno fence\n\nmore"}]})
    assert text == ("## Assistant · 2026-11-22T12:00:00.000Z\n\n> # No heading\n> ```\n> no fence\n>\n> more\n\n")


def test_a_tool_call_has_its_input_diff_and_output() -> None:
    call = {
        "toolCallId": "c",
        "title": "Edit `a.py`",
        "kind": "edit",
        "status": "completed",
        "rawInput": {"path": "a.py"},
        "content": [
            {"type": "diff", "path": "a.py", "oldText": "one\ntwo\nthree", "newText": "one\n2\nthree"},
            {"type": "content", "content": {"type": "text", "text": "done"}},
        ],
        "rawOutput": "ok",
    }
    assert shown("tool", {"toolCall": call}) == (
        "## Tool: Edit \\`a.py\\` (edit, completed) · 2026-11-22T12:00:00.000Z\n\n"
        'Input:\n\n```json\n{\n  "path": "a.py"\n}\n```\n\n'
        "Change of a.py:\n\n```diff\n@@ -1,3 +1,3 @@\n one\n-two\n+2\n three\n```\n\n"
        "> done\n\nOutput:\n\n```\nok\n```\n\n"
    )


def test_a_plan_is_a_list_of_what_is_done() -> None:
    entries = [
        {"content": "read", "status": "completed"},
        {"content": "write", "status": "in_progress"},
        {"content": 5},
    ]
    assert "\n- [x] read\n- [ ] (in progress) write\n- [ ] 5\n" in shown("plan", {"entries": entries})


def test_pictures_and_links_are_named_and_not_copied() -> None:
    blocks = [
        {"type": "image", "mimeType": "image/png", "data": "AAAA"},
        {"type": "resource_link", "uri": "file:///a*b", "name": "a"},
    ]
    text = shown("user", {"content": blocks})
    assert "*(image: image/png, 4 bytes in base64)*" in text
    assert "*(a: file:///a\\*b)*" in text
    assert "AAAA" not in text


@given(st.text(alphabet=st.sampled_from("`~#>-\n\r a")))
def test_no_text_ends_its_fence_or_quotation(text: str) -> None:
    fenced, quoted = "".join(fence(text)), "".join(quote(text))
    marks = re.match("`+", fenced)
    assert marks is not None
    lines = fenced.split("\n")
    closing = [line for line in lines[1:] if re.fullmatch(rf" {{0,3}}`{{{len(marks[0])},}}\s*", line)]
    assert closing == [lines[-1]]
    assert "\r" not in fenced
    assert all(line.startswith(">") for line in re.split(r"\r\n|\r|\n", quoted))


@given(st.text())
def test_a_title_stays_on_its_line(text: str) -> None:
    assert len(re.split(r"\r\n|\r|\n", inline(text))) == 1
    assert heading(text, {"Session": text}).count("\n") in (3, 4)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
blocks = st.fixed_dictionaries(
    {"type": st.sampled_from(["text", "image", "resource", "resource_link", "diff", "content"])},
    optional=dict.fromkeys(("text", "data", "mimeType", "uri", "resource", "path", "newText", "content"), json_values),
)


@given(
    st.sampled_from(["assistant", "tool", "terminal", "plan", "event"]),
    json_values | st.lists(json_values | blocks),
    json_values,
)
def test_whatever_an_agent_says_can_be_shown(role: str, value: Any, other: Any) -> None:
    call = {"content": value, "rawInput": other, "title": other, "status": other}
    ran = {"command": value, "args": other, "output": other, "omittedBytes": value, "exitStatus": other}
    text = shown(
        role, {"content": value, "entries": value, "toolCall": call, "terminal": ran, "event": other, "data": value}
    )
    assert text.encode("utf-8", "backslashreplace")
    assert len(re.findall(r"^## ", text, re.MULTILINE)) >= 1


def test_a_long_text_is_written_in_pieces_and_is_the_same() -> None:
    text = "a `` b \n" * 100_000
    pieces = list(fence(text)), list(quote(text))
    assert max(len(piece) for some in pieces for piece in some) < 100_000
    assert ["".join(some) for some in pieces] == [f"```\n{text}\n```", "> a `` b\n" * 100_000 + ">"]
