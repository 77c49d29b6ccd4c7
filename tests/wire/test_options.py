"""Options of permission requests, whatever an agent has written there."""

from typing import Any

import pytest

from gateway.wire.options import AMBIGUOUS, kinds_by_id, listed, option_of_kind

ONCE = {"optionId": "a", "kind": "allow_once"}


@pytest.mark.parametrize(
    ("options", "chosen"),
    [
        ([{"optionId": "z", "kind": "allow_always"}, ONCE, {"optionId": "b", "kind": "allow_once"}], "a"),
        ([ONCE, ONCE], "a"),
        # An id that stands for two things is none that anybody could mean.
        ([ONCE, {"optionId": "a", "kind": "allow_always"}], None),
        ([{"optionId": "a", "kind": "reject_once"}, ONCE], None),
        ([ONCE, {"optionId": "a"}], None),
        ([ONCE, {"optionId": "a", "kind": "reject_once"}, {"optionId": "b", "kind": "allow_once"}], "b"),
        ([{"optionId": "a", "kind": "Allow_once"}, {"optionId": "b", "kind": "allow"}], None),
        ([{"optionId": "a", "kind": ["allow_once"]}, {"kind": "allow_once"}, None, "allow_once"], None),
        ([{"optionId": "a\0", "kind": "allow_once"}, {"optionId": "\ud800", "kind": "allow_once"}], None),
        ({"optionId": "a", "kind": "allow_once"}, None),
        ("allow_once", None),
        (None, None),
    ],
)
def test_only_an_id_that_stands_for_this_kind_alone_is_chosen(options: Any, chosen: str | None) -> None:
    assert option_of_kind(options, "allow_once") == chosen


def test_each_id_has_its_kind_or_is_ambiguous() -> None:
    options = [ONCE, {"optionId": "b", "kind": 5}, {"optionId": "b", "kind": "allow_once"}, {"optionId": "c"}]
    assert kinds_by_id(options) == {"a": "allow_once", "b": AMBIGUOUS, "c": None}


def test_of_very_many_ids_some_are_listed() -> None:
    assert listed(["a", "b"]) == "a, b"
    assert listed([f"option-{number}" for number in range(100_000)]).endswith("option-19 and others")
    assert len(listed(["x" * 5000])) == 1000
