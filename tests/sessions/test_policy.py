"""What a project has decided beforehand: rules in their order, modes, and only options of the request's own."""

from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.projects import ANY_KIND, PermissionMode, PermissionRule, RuleAction, RuleKind
from gateway.sessions.policy import decide, option_of_kind

PERMISSION_MODES, RULE_ACTIONS = get_args(PermissionMode), get_args(RuleAction)
TOOL_KINDS = [kind for kind in get_args(RuleKind) if kind != ANY_KIND]

ALWAYS, ONCE, NO = (
    {"optionId": "always", "kind": "allow_always"},
    {"optionId": "once", "kind": "allow_once"},
    {"optionId": "no", "kind": "reject_once"},
)
OPTIONS = [ALWAYS, ONCE, NO]


def chosen(mode: str, rules: list[tuple[str, str]], kind: Any, options: Any = OPTIONS) -> str | None:
    written = [PermissionRule(kind=kind, action=action) for kind, action in rules]
    decision = decide(mode, written, {"toolCallId": "t", "kind": kind}, options)
    return decision.option_id if decision else None


@pytest.mark.parametrize("kind", [*TOOL_KINDS, "Edit", "", None, 5, ["edit"], "new_kind"])
def test_each_mode_allows_the_kinds_that_are_written_down_and_no_other(kind: Any) -> None:
    assert chosen("ask", [], kind) is None
    assert chosen("accept-edits", [], kind) == ("once" if kind == "edit" else None)
    assert chosen("full-auto", [], kind) == "once"


def test_the_first_rule_that_matches_counts_before_the_mode() -> None:
    rules = [("edit", "ask"), ("execute", "reject"), ("*", "allow"), ("read", "reject")]
    assert chosen("full-auto", rules, "edit") is None
    assert chosen("full-auto", rules, "execute") == "no"
    assert chosen("ask", rules, "read") == "once"
    assert chosen("ask", rules, None) == "once"


def test_a_rule_of_one_kind_does_not_match_a_call_that_names_none() -> None:
    assert chosen("ask", [("other", "allow")], None) is None
    for tool_call in (None, [], "edit", {}, {"kind": {}}):
        assert decide("accept-edits", [], tool_call, OPTIONS) is None


@pytest.mark.parametrize("options", [[ALWAYS, NO], [], None, {}, "allow_once", [None], [{"kind": "allow_once"}],
                                     [{"kind": "allow_once", "optionId": 5}]])  # fmt: skip
def test_where_no_option_is_for_this_once_a_person_is_asked(options: Any) -> None:
    assert chosen("full-auto", [], "edit", options) is None
    assert chosen("full-auto", [("edit", "allow")], "edit", options) is None


def test_a_rule_that_has_no_option_does_not_leave_it_to_the_mode() -> None:
    assert chosen("full-auto", [("edit", "reject")], "edit", [ONCE, ALWAYS]) is None


def test_what_answered_is_told() -> None:
    rule = PermissionRule(kind=ANY_KIND, action="reject")
    by_rule, by_mode = decide("ask", [rule], {}, OPTIONS), decide("full-auto", [], {}, OPTIONS)
    assert by_rule is not None
    assert by_mode is not None
    assert (by_rule.rule, by_mode.rule) == ({"kind": "*", "action": "reject"}, {"mode": "full-auto"})


WORDS = st.sampled_from(["allow_once", "allow_always", "reject_once", "reject_always", "else"])
ANY_OPTIONS = st.lists(
    st.fixed_dictionaries({}, optional={"kind": WORDS, "optionId": st.text(max_size=3) | st.integers()}) | st.none(),
    max_size=6,
)
RULES = st.lists(
    st.builds(PermissionRule, kind=st.sampled_from([ANY_KIND, *TOOL_KINDS]), action=st.sampled_from(RULE_ACTIONS)),
    max_size=5,
)


@given(st.sampled_from(PERMISSION_MODES), RULES, st.sampled_from([*TOOL_KINDS, None]), ANY_OPTIONS)
def test_nothing_is_ever_chosen_but_the_requests_own_options_for_this_once(
    mode: str, rules: list[PermissionRule], kind: Any, options: Any
) -> None:
    decision = decide(mode, rules, {"kind": kind}, options)
    first = next((rule for rule in rules if rule.kind in (ANY_KIND, kind)), None)
    allowed = first.action == "allow" if first else mode == "full-auto" or (mode, kind) == ("accept-edits", "edit")
    rejected = first is not None and first.action == "reject"
    expected = option_of_kind(options, "allow_once") if allowed else None
    expected = option_of_kind(options, "reject_once") if rejected else expected
    assert (decision.option_id if decision else None) == expected
    if decision:
        [match] = [one for one in options if one and one.get("optionId") == expected][:1]
        assert match in options
