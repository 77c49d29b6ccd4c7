"""What events say, in words, for people who read a session afterwards."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from gateway.wire.cutting import CUT

#: Permission requests whose options are remembered until their answer comes. A session's limit is 200.
_REMEMBERED: Final = 1000

_GAPS: Final = {
    "agent_output": "The agent wrote something that cannot be read.",
    "container_restarted": "The container restarted, and what it said in between is lost.",
    "not_storable": "An event could not be stored.",
    "oversized": "An event was larger than the gateway accepts.",
    "restored_from_backup": "The gateway's database was restored from a backup; what came after that is lost.",
    "skipped": "The container no longer had what came next.",
    "spool_damaged": "The buffer for the time without a database came back changed.",
    "spool_full": "The database was away for longer than events could be buffered.",
    "stream_interrupted": "The container's stream broke, and it does not number its events.",
    "unnumbered": "The container sent events without a new number.",
}
_RESTORED: Final = {
    "agent_restarted": "the agent restarted",
    "container_forgot": "the container forgot it",
    "container_restarted": "the container restarted",
    "credential_renewed": "the credential was renewed",
}
_FORGOTTEN: Final = {"conversation": "the conversation so far", "mcpServers": "its MCP servers"}
_TEXTS: Final = {"oldText": "text before", "newText": "new text"}
_DECIDERS: Final = {
    "container": "by the container itself",
    "gateway": "by the gateway, as nobody waits for the answer any more",
    "timeout": "because nobody answered in time",
}


class Sentences:
    """Says a session's events in their order: an answer is told with what was asked."""

    def __init__(self) -> None:
        #: By the request's id: what it is about, and the options' names by their ids.
        self._asked: dict[str, tuple[str, Mapping[str, str]]] = {}

    def of(self, type: str, data: Any) -> tuple[str, list[str]]:
        """A title, and sentences; both may have an agent's words in them."""
        said = data if isinstance(data, dict) else {}
        tell = _TOLD.get(type)
        if tell is not None:
            return tell(self, said)
        update = said.get("update")
        if type == "session_update" and isinstance(update, dict):
            if update.get("sessionUpdate") == "current_mode_update":
                return "Mode", [f"The agent's mode is now {_word(update.get('currentModeId'))}."]
            return "Agent", [f"The agent told {_word(update.get('sessionUpdate'))}."]
        return "Event", [f"The container told {_word(said.get('event') or type)}."]

    def _request(self, said: Mapping[str, Any]) -> tuple[str, list[str]]:
        call = said.get("toolCall")
        title = _word((call.get("title") or call.get("toolCallId")) if isinstance(call, dict) else None, "something")
        options = {
            str(option["optionId"]): _word(option.get("name") or option["optionId"])
            for option in _dicts(said.get("options"))
            if "optionId" in option
        }
        if len(self._asked) >= _REMEMBERED:
            self._asked.pop(next(iter(self._asked)))
        self._asked[str(said.get("permissionId"))] = title, options
        lines = [f"The agent asks for permission: {title}"]
        if isinstance(call, dict) and isinstance(call.get("_meta"), dict) and call["_meta"].get(CUT) is True:
            lines.append("It was too large to be kept as a whole.")
        if options:
            lines.append(f"Options: {', '.join(options.values())}.")
        if said.get("resolvedBy") == "container":
            lines.append("The container decides this itself.")
        return "Permission request", lines

    def _resolved(self, said: Mapping[str, Any]) -> tuple[str, list[str]]:
        title, options = self._asked.pop(str(said.get("permissionId")), ("a permission request", {}))
        option = options.get(str(said.get("optionId")), _word(said.get("optionId")))
        what = f"“{option}”" if said.get("outcome") == "selected" else "Cancelled"
        return "Permission answer", [f"{what} {_decider(said)}: {title}"]

    def _turn_ended(self, said: Mapping[str, Any]) -> tuple[str, list[str]]:
        failure = f" ({_word(said['failure'])})" if said.get("failure") else ""
        ended = f"The turn ended as {_word(said.get('outcome'))}{failure}."
        return "End of the turn", [ended, *_sentences(said.get("message"))]

    def _renamed(self, said: Mapping[str, Any]) -> tuple[str, list[str]]:
        title, former = _word(said.get("title"), ""), _word(said.get("formerTitle"), "")
        change = f"calls the session “{title}”" if title else "takes the session's title away"
        before = [f"It was called “{former}”."] if former else []
        return "Session renamed", [f"{_word(said.get('renamedBy'))} {change}.", *before]

    def _gap(self, said: Mapping[str, Any]) -> tuple[str, list[str]]:
        count = f" {said['count']} events are missing." if isinstance(said.get("count"), int) else ""
        why = _GAPS.get(str(said.get("reason")), _word(said.get("reason")))
        return "Gap", [f"Something is missing here. {why}{count}", *_sentences(said.get("message"))]

    def _restored(self, said: Mapping[str, Any]) -> tuple[str, list[str]]:
        why = _RESTORED.get(str(said.get("reason")), _word(said.get("reason")))
        forgotten = [_FORGOTTEN.get(str(one), _word(one)) for one in _list(said.get("forgotten"))]
        how = "began anew" if said.get("how") == "new" else "was taken up again"
        lost = [f"The agent has forgotten {' and '.join(forgotten)}."] if forgotten else []
        return "Session restored", [f"The session {how}, because {why}.", *lost, *_sentences(said.get("message"))]

    def _file_read(self, said: Mapping[str, Any]) -> tuple[str, list[str]]:
        lines = ""
        if said.get("line") is not None or said.get("limit") is not None:
            lines = f" from line {said.get('line') or 1} on"
        if said.get("limit") is not None:
            lines += f", at most {_word(said['limit'])} lines"
        return "File read", [f"The agent read {_word(said.get('path'))}{lines} ({_word(said.get('size'))} bytes)."]

    def _file_written(self, said: Mapping[str, Any]) -> tuple[str, list[str]]:
        told = f"The agent wrote {_word(said.get('path'))} ({_word(said.get('size'))} bytes)."
        left_out = [_TEXTS.get(str(one), _word(one)) for one in _list(said.get("omitted"))]
        return "File written", [told, *(f"The {one} is too large to be shown, or is no text." for one in left_out)]

    def _stopping(self, said: Mapping[str, Any]) -> tuple[str, list[str]]:
        others = len(_list(said.get("otherTurns")))
        more = [f"{others} other turns end with it."] if others else []
        return "Agent stopped", ["The turn did not end when it was cancelled, so the agent is stopped.", *more]


_TOLD: Final[Mapping[str, Callable[[Sentences, Mapping[str, Any]], tuple[str, list[str]]]]] = {
    "permission_request": Sentences._request,
    "permission_resolved": Sentences._resolved,
    "turn_ended": Sentences._turn_ended,
    "turn_cancelling": lambda _, said: ("Cancel", [f"{_word(said.get('requestedBy'))} cancels the turn."]),
    "turn_stalling": lambda _, said: (
        "Silence",
        [f"The agent has said nothing for {_word(said.get('silentFor'))} seconds."],
    ),
    "agent_stopping": Sentences._stopping,
    "file_read": Sentences._file_read,
    "file_written": Sentences._file_written,
    "gap": Sentences._gap,
    "session_restored": Sentences._restored,
    "session_renamed": Sentences._renamed,
    "session_cleared": lambda _, said: (
        "History cleared",
        [f"{_word(said.get('clearedBy'))} cleared the history before this."],
    ),
    "session_ended": lambda _, said: ("Session ended", [f"{_word(said.get('endedBy'))} ended the session."]),
    "auth_required": lambda _, said: (
        "Account needed",
        ["The agent needs a connected account.", *_sentences(said.get("message"))],
    ),
    "auth_complete": lambda _, __: ("Account connected", ["Somebody connected an account to the agent."]),
}


def _decider(said: Mapping[str, Any]) -> str:
    decider, rule = said.get("resolvedBy"), said.get("rule")
    if decider == "rule":
        mode = rule.get("mode") if isinstance(rule, dict) else None
        return f"by the project's mode {_word(mode)}" if mode else "by a rule of the project"
    return _DECIDERS.get(str(decider), f"by {_word(decider)}")


def _word(value: Any, otherwise: str = "something unknown") -> str:
    return otherwise if value is None or value == "" else str(value)


def _sentences(value: Any) -> list[str]:
    return [value] if isinstance(value, str) and value else []


def _list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else []


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [one for one in _list(value) if isinstance(one, dict)]
