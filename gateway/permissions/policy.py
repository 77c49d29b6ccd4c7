"""What a project has decided beforehand: its rules, and its mode where no rule matches.

Both go by the tool's kind, which is what the agent says of its own call (ACP, ToolKind): a claim, not a fact. Both
choose among the request's own options, and only those that count for this once.
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
#: The kinds of tool that a mode allows; a mode that is not here allows nothing by itself.
_ALLOWED: Final[dict[str, set[str]]] = {"accept-edits": {"edit"}, "full-auto": {ANY_KIND}}
#: What a call may be whose kind is not known; the last is one that no rule names, as a later version of ACP may have.
_ANY: Final = (*sorted(TOOL_KINDS), None)


@attrs.frozen(kw_only=True)
class Decision:
    """An answer that nobody had to be asked for; ``rule`` says by what, as the log tells it.

    ``option_id`` None refuses a request that has no option for a refusal: it is taken back.
    """

    option_id: str | None
    rule: dict[str, str]


@attrs.frozen
class _Verdict:
    """What a rule or the mode says to one kind."""

    action: str
    rule: dict[str, str]


def decide(mode: str, rules: Iterable[PermissionRule], kinds: Sequence[str | None], options: Any) -> Decision | None:
    """The answer to a request; None where a person is to be asked.

    ``kinds`` is all that the agent has called the call, each of ``TOOL_KINDS``, or None where that is not known: then
    it may be any. For each of them the first rule that matches counts, before the mode, and the strictest verdict is
    the answer. In ``full-auto`` a rule that only may match has a person asked instead.

    Where the request has no option that allows it for this once, a person is asked: what else is offered means more.
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
    """What the session's project says at this moment; None as well where the session has ended."""
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
