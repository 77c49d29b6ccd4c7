"""What a project has decided beforehand: its rules, and its mode where no rule matches.

Both go by the tool's kind, which is what the agent says of its own call (ACP, ToolKind): a claim, not a fact. Both
choose among the request's own options, and only those that count for this once.
https://agentclientprotocol.com/protocol/tool-calls#requesting-permission
"""

from collections.abc import Iterable, Sequence
from typing import Any

import attrs

from gateway.projects import ANY_KIND, PermissionRule
from gateway.wire.codec import storable

#: The kinds of tool that a mode allows; a mode that is not here allows nothing by itself.
_ALLOWED: dict[str, set[str]] = {"accept-edits": {"edit"}, "full-auto": {ANY_KIND}}
_OPTION_KINDS = {"allow": "allow_once", "reject": "reject_once"}


@attrs.frozen(kw_only=True)
class Decision:
    """An answer that nobody had to be asked for; ``rule`` says by what, as the log tells it."""

    option_id: str
    rule: dict[str, str]


def decide(mode: str, rules: Iterable[PermissionRule], tool_call: Any, options: Any) -> Decision | None:
    """The answer to a request; None where a person is to be asked.

    The first rule that matches counts, before the mode. Where the request has no option for what it says, a person is
    asked: what else is offered may mean more than this once.
    """
    said = tool_call.get("kind") if isinstance(tool_call, dict) else None
    kind = said if isinstance(said, str) else None
    for rule in rules:
        if rule.kind in (ANY_KIND, kind):
            return _choose(options, rule.action, {"kind": rule.kind, "action": rule.action})
    if _ALLOWED.get(mode, set()) & {ANY_KIND, kind or ANY_KIND}:
        return _choose(options, "allow", {"mode": mode})
    return None


def option_of_kind(options: Any, kind: str) -> str | None:
    """The id of a request's first option of this kind; ``options`` is JSON of an agent's."""
    for option in options if isinstance(options, Sequence) else ():
        if isinstance(option, dict) and option.get("kind") == kind and _is_id(option.get("optionId")):
            return str(option["optionId"])
    return None


def _choose(options: Any, action: str, rule: dict[str, str]) -> Decision | None:
    option_id = option_of_kind(options, _OPTION_KINDS[action]) if action in _OPTION_KINDS else None
    return None if option_id is None else Decision(option_id=option_id, rule=rule)


def _is_id(value: Any) -> bool:
    return isinstance(value, str) and storable(value) == value
