"""What a project has decided in advance: its rules, and its mode if no rule matches.

Both depend on the tool's kind, which is the agent's claim (ACP, ToolKind) and not a fact. Both choose among the
request's own options, and only those for once.
https://agentclientprotocol.com/protocol/tool-calls#requesting-permission
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final, get_args

import attrs

from gateway.db.pool import Database
from gateway.projects.store import ANY_KIND, PermissionRule, RuleKind, rules_from
from gateway.wire.options import option_of_kind

#: ACP's kinds of tool.
TOOL_KINDS: Final = frozenset(get_args(RuleKind)) - {ANY_KIND}
#: The kinds that a mode allows; other modes allow nothing.
_ALLOWED: Final[dict[str, set[str]]] = {"accept-edits": {"edit"}, "full-auto": {ANY_KIND}}
#: The kinds that a call of unknown kind may have; None stands for one that no rule names, as in a later version of ACP.
_ANY: Final = (*sorted(TOOL_KINDS), None)


@attrs.frozen(kw_only=True)
class Decision:
    """An answer by the policy; ``rule`` is in the log.

    ``option_id`` None cancels a request that has no option for a refusal.
    """

    option_id: str | None
    rule: dict[str, str]


@attrs.frozen
class _Verdict:
    """What a rule or the mode says about one kind."""

    action: str
    rule: dict[str, str]


def decide(mode: str, rules: Iterable[PermissionRule], kinds: Sequence[str | None], options: Any) -> Decision | None:
    """The answer to a request; None to ask a person.

    ``kinds`` is every kind that the agent has given the call, each of ``TOOL_KINDS``, or None if unknown, which may be
    any. For each kind the first matching rule applies, before the mode, and the strictest verdict counts. In
    ``full-auto``, a rule that may match leads to a question.

    Without an option that allows it once, a person is asked, since other options allow more.
    """
    written = list(rules)
    known = [_verdict(mode, written, kind) for kind in kinds if kind is not None]
    possible = known if known and None not in kinds else [*known, *(_verdict(mode, written, kind) for kind in _ANY)]
    is_certain = mode != "full-auto" or all(verdict.action == "reject" for verdict in possible)
    rejection = _rejection(possible if is_certain else known)
    if rejection is not None:
        return Decision(option_id=option_of_kind(options, "reject_once"), rule=rejection.rule)
    allowed = option_of_kind(options, "allow_once")
    if allowed is None or any(verdict.action != "allow" for verdict in possible):
        return None
    return Decision(option_id=allowed, rule=possible[0].rule)


async def decide_now(
    database: Database, project_id: str, session_id: str, kinds: Sequence[str | None], options: Any
) -> Decision | None:
    """The policy's answer at this moment; None also if the session has ended."""
    row = await database.fetch_one("get_permission_policy", id=project_id, session_id=session_id)
    return None if row is None else decide(row["permission_mode"], rules_from(row["permission_rules"]), kinds, options)


def _verdict(mode: str, rules: Iterable[PermissionRule], kind: str | None) -> _Verdict:
    for rule in rules:
        if rule.kind in (ANY_KIND, kind):
            return _Verdict(rule.action, {"kind": rule.kind, "action": rule.action})
    if _ALLOWED.get(mode, set()) & {ANY_KIND, kind}:
        return _Verdict("allow", {"mode": mode})
    return _Verdict("ask", {})


def _rejection(verdicts: Iterable[_Verdict]) -> _Verdict | None:
    return next((verdict for verdict in verdicts if verdict.action == "reject"), None)
