"""What events say in words: each has its sentence, in exports and in the console, and the docs list the same."""

from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.telemetry.metrics import GAP_REASONS
from gateway.wire.messages import EventMessageType
from gateway.wire.sentences import Sentences

TOP = Path(__file__).parents[2]
NOTES = (TOP / "gateway/web/console/view/notes.js").read_text()
API = (TOP / "docs/api.md").read_text()
RESTORED = ("agent_restarted", "container_forgot", "container_restarted", "credential_renewed")

any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
MEMBERS = (
    *("permissionId", "toolCall", "options", "outcome", "optionId", "resolvedBy", "rule", "reason", "count", "message"),
    *("path", "size", "line", "limit", "omitted", "oldText", "newText"),
    *("how", "forgotten", "failure", "requestedBy", "silentFor", "otherTurns", "endedBy", "update", "event"),
    *("title", "formerTitle", "renamedBy", "clearedBy"),
)


def told(type: str, **data: Any) -> str:
    title, sentences = Sentences().of(type, data)
    return f"{title}: {' '.join(sentences)}"


@pytest.mark.parametrize("reason", [*GAP_REASONS, "restored_from_backup"])
def test_each_reason_of_a_gap_has_its_sentence_everywhere(reason: str) -> None:
    assert reason not in told("gap", reason=reason)
    assert f"\n    {reason}:" in NOTES
    assert f"| `{reason}` |" in API


@pytest.mark.parametrize("reason", RESTORED)
def test_each_reason_to_restore_a_session_has_its_sentence(reason: str) -> None:
    assert reason not in told("session_restored", how="load", reason=reason)
    assert f"\n    {reason}:" in NOTES


@pytest.mark.parametrize("type", get_args(EventMessageType))
def test_each_type_of_event_that_is_a_message_has_a_title_of_its_own_and_is_in_the_docs(type: str) -> None:
    title, sentences = Sentences().of(type, {"update": {"sessionUpdate": "x"}, "event": "x"})
    assert title != "Event" or type == "container_event"
    assert sentences
    assert f"`{type}`" in API


def test_an_answer_is_told_with_what_was_asked() -> None:
    sentences = Sentences()
    options = [{"optionId": "a", "name": "Allow"}]
    sentences.of("permission_request", {"permissionId": "p", "toolCall": {"title": "Push"}, "options": options})
    answer = {"permissionId": "p", "outcome": "selected", "optionId": "a", "resolvedBy": "ann"}
    assert sentences.of("permission_resolved", answer) == ("Permission answer", ["“Allow” by ann: Push"])
    by_mode = {**answer, "resolvedBy": "rule", "rule": {"mode": "full-auto"}}
    assert (
        told("permission_resolved", **by_mode)
        == "Permission answer: “a” by the project's mode full-auto: a permission request"
    )


@given(
    st.sampled_from(get_args(EventMessageType)),
    any_json | st.dictionaries(st.sampled_from(MEMBERS), any_json, max_size=8),
)
def test_whatever_an_event_holds_is_told(type: str, data: Any) -> None:
    title, sentences = Sentences().of(type, data)
    assert title
    assert all(isinstance(sentence, str) for sentence in sentences)
