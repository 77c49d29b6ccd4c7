"""The options of a permission request, as an agent wrote them: any JSON.

https://agentclientprotocol.com/protocol/tool-calls#permission-options
"""

from collections.abc import Collection
from itertools import islice
from typing import Any, Final

from gateway.wire.codec import storable

#: The kind of an id that options of different kinds share: it is unknown what it would allow.
AMBIGUOUS: Final = object()


def kinds_by_id(options: Any) -> dict[str, Any]:
    """The kind of each option id; options without an id that can be answered with are left out."""
    kinds: dict[str, Any] = {}
    for option in options if isinstance(options, list) else ():
        option_id = option.get("optionId") if isinstance(option, dict) else None
        if isinstance(option_id, str) and storable(option_id) == option_id:
            kind = option.get("kind")
            kinds[option_id] = kind if kinds.get(option_id, kind) == kind else AMBIGUOUS
    return kinds


def listed(option_ids: Collection[str]) -> str:
    """Some of the ids, for a message."""
    some = ", ".join(islice(option_ids, 20))
    return some[:1000] if len(option_ids) <= 20 else f"{some[:1000]} and others"


def option_of_kind(options: Any, kind: str) -> str | None:
    """The id of the first option of this kind, if no other kind has it."""
    return next((option_id for option_id, known in kinds_by_id(options).items() if known == kind), None)
