"""The mode that an agent works in, and who decides in it: some modes let an agent act before anybody is asked.

ACP has modes, and newer agents have them as a configuration option of the category `mode`.
https://agentclientprotocol.com/protocol/session-modes
"""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from gateway.agenthost.catalogue import AgentSpec

#: Who decides about what the agent wants to do: the gateway, which it asks for permission, or the agent itself.
Decider = Literal["client", "agent"]
#: A call that changes the mode or an option.
Call = tuple[str, dict[str, Any]]

#: Updates of a session that tell its mode.
MODE_UPDATES = frozenset({"current_mode_update", "config_option_update"})


def decider(spec: AgentSpec, mode: str | None) -> Decider:
    """Who decides in this mode. An agent without modes asks, unless its entry says otherwise."""
    return "client" if spec.asks and (mode is None or mode in spec.asks_in) else "agent"


def mode_in(told: Mapping[str, Any]) -> str | None:
    """The mode in an answer that has `modes` or `configOptions`, or in an update of either."""
    mode = told.get("currentModeId")
    if isinstance(told.get("modes"), dict):
        mode = told["modes"].get("currentModeId")
    for option in _options(told):
        mode = option.get("currentValue") if option.get("category") == "mode" else mode
    return mode if isinstance(mode, str) else None


def mode_options(told: Mapping[str, Any]) -> set[str]:
    """The ids of the options that are the mode."""
    return {option["id"] for option in _options(told) if option.get("category") == "mode"}


def has(told: Mapping[str, Any], mode: str) -> bool:
    """Whether the agent has this mode, or tells none at all."""
    named = [option for option in _options(told) if option.get("category") == "mode"]
    return mode in _modes(told) or any(_takes(option, mode) for option in named) or mode_in(told) in (mode, None)


def calls(told: Mapping[str, Any], mode: str, options: Mapping[str, str | bool]) -> Iterator[Call]:
    """What brings a session whose agent has answered this into the mode, with these options, where it has them."""
    wanted = dict(options)
    if mode and mode_in(told) != mode:
        if mode in _modes(told):
            yield "session/set_mode", {"modeId": mode}
        else:
            wanted |= dict.fromkeys(mode_options(told), mode)
    for option in _options(told):
        value = wanted.get(option["id"])
        if value is not None and value != option.get("currentValue") and _takes(option, value):
            params = {"configId": option["id"], "value": value}
            yield "session/set_config_option", params | ({"type": "boolean"} if isinstance(value, bool) else {})


def changed(told: Mapping[str, Any], call: Call, answer: Mapping[str, Any]) -> dict[str, Any]:
    """What the agent has told of modes and options, after this call and its answer."""
    method, params = call
    after = dict(told)
    if isinstance(answer.get("configOptions"), list):
        after["configOptions"] = answer["configOptions"]
    if method == "session/set_mode":
        after["modes"] = {**told["modes"], "currentModeId": params["modeId"]}
        after |= _with_values(after, dict.fromkeys(mode_options(told), params["modeId"]))
    elif "configOptions" not in answer:
        after |= _with_values(after, {params["configId"]: params["value"]})
    if isinstance(after.get("modes"), dict) and (mode := mode_in({**after, "modes": None})) is not None:
        after["modes"] = {**after["modes"], "currentModeId": mode}
    return after


def _with_values(told: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(told.get("configOptions"), list):
        return {}
    return {
        "configOptions": [
            {**option, "currentValue": values[option["id"]]}
            if isinstance(option, dict) and isinstance(option.get("id"), str) and option["id"] in values
            else option
            for option in told["configOptions"]
        ]
    }


def _takes(option: Mapping[str, Any], value: str | bool) -> bool:
    """Whether the option has this value; values may be in groups."""
    if isinstance(value, bool):
        return option.get("type") == "boolean"
    choices = [one for one in _list(option.get("options")) if isinstance(one, dict)]
    grouped = [one for choice in choices for one in _list(choice.get("options")) if isinstance(one, dict)]
    return any(one.get("value") == value for one in (*choices, *grouped))


def _modes(told: Mapping[str, Any]) -> set[Any]:
    modes = told.get("modes")
    offered = _list(modes.get("availableModes")) if isinstance(modes, dict) else []
    return {one["id"] for one in offered if isinstance(one, dict) and isinstance(one.get("id"), str)}


def _options(told: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [one for one in _list(told.get("configOptions")) if isinstance(one, dict) and isinstance(one.get("id"), str)]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
