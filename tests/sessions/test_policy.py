"""What a project has decided beforehand: rules in their order, modes, and only options of the request's own."""

from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.permissions.policy import decide
from gateway.projects.store import ANY_KIND, PermissionMode, PermissionRule, RuleAction, RuleKind
from gateway.wire.options import option_of_kind

PERMISSION_MODES, RULE_ACTIONS = get_args(PermissionMode), get_args(RuleAction)
TOOL_KINDS = [kind for kind in get_args(RuleKind) if kind != ANY_KIND]

ALWAYS, ONCE, NO = (
    {"optionId": "always", "kind": "allow_always"},
    {"optionId": "once", "kind": "allow_once"},
    {"optionId": "no", "kind": "reject_once"},
)
OPTIONS = [ALWAYS, ONCE, NO]


def chosen(mode: str, rules: list[tuple[str, str]], *kinds: str | None, options: Any = OPTIONS) -> str | None:
    """The option that is chosen for a call that was called all this; "refused" where none of them is for a refusal."""
    decision = decide(mode, [PermissionRule(kind=kind, action=action) for kind, action in rules], kinds, options)
    return (decision.option_id or "refused") if decision else None


@pytest.mark.parametrize("kind", [*TOOL_KINDS, None])
def test_each_mode_allows_the_kinds_that_are_written_down_and_no_other(kind: Any) -> None:
    assert chosen("ask", [], kind) is None
    assert chosen("accept-edits", [], kind) == ("once" if kind == "edit" else None)
    assert chosen("full-auto", [], kind) == "once"


def test_the_first_rule_that_matches_counts_before_the_mode() -> None:
    rules = [("edit", "ask"), ("execute", "reject"), ("*", "allow"), ("read", "reject")]
    assert chosen("full-auto", rules, "edit") is None
    assert chosen("full-auto", rules, "execute") == "no"
    assert chosen("ask", rules, "read") == "once"


UNKNOWN = [
    # Mode, rules, what becomes of a call that may be of any kind.
    ("ask", [], None),
    ("accept-edits", [], None),
    ("full-auto", [], "once"),
    ("ask", [("*", "allow")], "once"),
    ("ask", [("*", "reject")], "no"),
    ("full-auto", [("*", "reject")], "no"),
    ("ask", [("other", "allow")], None),
    ("ask", [(kind, "allow") for kind in TOOL_KINDS], None),
    ("full-auto", [(kind, "allow") for kind in TOOL_KINDS], "once"),
    ("full-auto", [("execute", "ask")], None),
    ("ask", [("execute", "ask"), ("*", "allow")], None),
    # A rule that could reject it does; in full-auto a person is asked.
    ("ask", [("execute", "reject")], "no"),
    ("accept-edits", [("execute", "reject")], "no"),
    ("full-auto", [("execute", "reject")], None),
    ("ask", [("execute", "reject"), ("*", "allow")], "no"),
    ("full-auto", [("execute", "reject"), ("*", "allow")], None),
    ("ask", [("read", "allow"), ("*", "reject")], "no"),
    # One that no call ever comes to could not.
    ("ask", [("*", "allow"), ("execute", "reject")], "once"),
    ("full-auto", [("execute", "allow"), ("execute", "reject")], "once"),
]


@pytest.mark.parametrize(("mode", "rules", "expected"), UNKNOWN)
def test_an_unknown_kind_counts_for_what_could_reject_it_and_for_nothing_that_allows(
    mode: str, rules: list[tuple[str, str]], expected: str | None
) -> None:
    assert chosen(mode, rules, None) == expected
    assert chosen(mode, rules) == expected


def test_of_several_kinds_the_strictest_verdict_counts() -> None:
    rules = [("execute", "reject"), ("fetch", "ask"), ("*", "allow")]
    assert chosen("full-auto", rules, "read", "execute") == chosen("full-auto", rules, "execute", "read") == "no"
    assert chosen("full-auto", rules, "read", "fetch") is None
    assert chosen("full-auto", rules, "fetch", "execute", None) == "no"
    assert chosen("full-auto", rules, "read", "edit") == "once"
    assert chosen("full-auto", rules, "read", None) is None
    assert chosen("accept-edits", [], "edit", "execute") is None


@pytest.mark.parametrize("options", [[ALWAYS, NO], [], None, {}, "allow_once", [None], [{"kind": "allow_once"}],
                                     [{"kind": "allow_once", "optionId": 5}]])  # fmt: skip
def test_where_no_option_is_for_this_once_a_person_is_asked(options: Any) -> None:
    assert chosen("full-auto", [], "edit", options=options) is None
    assert chosen("full-auto", [("edit", "allow")], "edit", options=options) is None


@pytest.mark.parametrize("options", [[ONCE, ALWAYS], [{"optionId": "never", "kind": "reject_always"}], [], None, "no"])
def test_what_a_rule_rejects_is_refused_whether_or_not_the_agent_offers_that(options: Any) -> None:
    assert chosen("full-auto", [("edit", "reject")], "edit", options=options) == "refused"


def test_what_answered_is_told() -> None:
    rule = PermissionRule(kind=ANY_KIND, action="reject")
    by_rule, by_mode = decide("ask", [rule], [None], OPTIONS), decide("full-auto", [], ["edit"], OPTIONS)
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


KINDS = st.lists(st.sampled_from([*TOOL_KINDS, None]), max_size=3)


def judged(mode: str, rules: list[PermissionRule], kind: str | None) -> str:
    first = next((rule for rule in rules if rule.kind in (ANY_KIND, kind)), None)
    if first:
        return first.action
    return "allow" if mode == "full-auto" or (mode, kind) == ("accept-edits", "edit") else "ask"


@given(st.sampled_from(PERMISSION_MODES), RULES, KINDS, ANY_OPTIONS)
def test_nothing_is_ever_chosen_but_the_requests_own_options_for_this_once(
    mode: str, rules: list[PermissionRule], kinds: list[str | None], options: Any
) -> None:
    decision = decide(mode, rules, kinds, options)
    unknown = None in kinds or not kinds
    known = {judged(mode, rules, kind) for kind in kinds if kind is not None}
    possible = known | ({judged(mode, rules, kind) for kind in (*TOOL_KINDS, None)} if unknown else set())
    allowed, rejected = option_of_kind(options, "allow_once"), option_of_kind(options, "reject_once")
    if "reject" in (known if mode == "full-auto" and possible != {"reject"} else possible):
        assert decision is not None
        assert decision.option_id == rejected
        assert decision.rule["action"] == "reject"
    elif possible == {"allow"} and allowed is not None:
        assert decision is not None
        assert decision.option_id == allowed
    else:
        assert decision is None
