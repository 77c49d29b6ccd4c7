"""The demo agent's ACP methods; prompts run in threads of their own."""

import threading
import traceback
from binascii import a2b_base64
from collections.abc import Callable
from typing import Any

from gateway import __version__
from gateway.agenthost.demo.conversation import MODES, SPEEDS, Conversation, no_session
from gateway.agenthost.demo.directives import follow
from gateway.agenthost.demo.rpc import INTERNAL_ERROR, INVALID_PARAMS, METHOD_NOT_FOUND, Connection, RpcError
from gateway.agenthost.demo.turn import Cancelled, Turn, chunk

Params = dict[str, Any]

_PROTOCOL_VERSION = 1


class Agent:
    def __init__(self, client: Connection) -> None:
        self._client = client
        self._conversations: dict[str, Conversation] = {}
        self._methods: dict[str, Callable[[Params], dict[str, Any]]] = {
            "initialize": self._initialize,
            "authenticate": self._authenticate,
            "session/new": self._new_session,
            "session/load": self._load_session,
            "session/set_mode": self._set_mode,
            "session/set_config_option": self._set_option,
            "session/prompt": self._prompt,
        }

    def serve(self) -> None:
        """Answer the client until it closes its end."""
        for message in self._client.messages():
            method = message["method"]
            params = message["params"] if isinstance(message.get("params"), dict) else {}
            if "id" not in message:
                if method == "session/cancel":
                    self._cancel(params)
            elif method == "session/prompt":
                # Cleared here and not in the turn's thread, because the next message may be a cancel.
                if conversation := self._known(params):
                    conversation.cancelled.clear()
                threading.Thread(target=self._answer, args=(message["id"], method, params), daemon=True).start()
            else:
                self._answer(message["id"], method, params)

    def _answer(self, request_id: Any, method: str, params: Params) -> None:
        try:
            if (call := self._methods.get(method)) is None:
                raise RpcError(METHOD_NOT_FOUND, f"there is no method {method}")
            self._client.answer(request_id, result=call(params))
        except RpcError as exc:
            self._client.answer(request_id, error=exc.to_json())
        except Exception as exc:
            traceback.print_exc()
            error = RpcError(INTERNAL_ERROR, f"the demo agent failed: {exc!r}")
            self._client.answer(request_id, error=error.to_json())

    def _initialize(self, _: Params) -> dict[str, Any]:
        return {
            "protocolVersion": _PROTOCOL_VERSION,
            "agentCapabilities": {
                "loadSession": True,
                "promptCapabilities": {"image": True, "audio": True, "embeddedContext": True},
            },
            "agentInfo": {"name": "demo", "title": "Demo agent", "version": __version__},
        }

    def _authenticate(self, params: Params) -> dict[str, Any]:
        method = _text(params, "methodId")
        raise RpcError(INVALID_PARAMS, f"there is no method {method}: this agent needs no account")

    def _new_session(self, params: Params) -> dict[str, Any]:
        conversation = Conversation.new(_text(params, "cwd"))
        self._conversations[conversation.id] = conversation
        return {"sessionId": conversation.id, "modes": conversation.modes(), "configOptions": conversation.options()}

    def _load_session(self, params: Params) -> dict[str, Any]:
        conversation = Conversation.load(_text(params, "sessionId"), _text(params, "cwd"))
        self._conversations[conversation.id] = conversation
        for role, text in conversation.history:
            kind = "user_message_chunk" if role == "user" else "agent_message_chunk"
            self._update(conversation, chunk(kind, text))
        return {"modes": conversation.modes(), "configOptions": conversation.options()}

    def _set_mode(self, params: Params) -> dict[str, Any]:
        conversation, mode = self._conversation(params), _text(params, "modeId")
        if mode not in MODES:
            raise RpcError(INVALID_PARAMS, f"there is no mode {mode}")
        conversation.mode = mode
        conversation.save()
        self._update(conversation, {"sessionUpdate": "current_mode_update", "currentModeId": mode})
        return {}

    def _set_option(self, params: Params) -> dict[str, Any]:
        conversation, option, value = self._conversation(params), _text(params, "configId"), params.get("value")
        if option != "speed" or not isinstance(value, str) or value not in SPEEDS:
            raise RpcError(INVALID_PARAMS, f"there is no option {option} with a value {value}")
        conversation.speed = value
        conversation.save()
        return {"configOptions": conversation.options()}

    def _cancel(self, params: Params) -> None:
        if conversation := self._known(params):
            conversation.cancelled.set()
            self._client.wake()

    def _prompt(self, params: Params) -> dict[str, Any]:
        conversation = self._conversation(params)
        blocks = params["prompt"]
        text = "\n".join(block["text"] for block in blocks if block["type"] == "text")
        conversation.history.append(("user", text))
        conversation.save()
        turn = Turn(self._client, conversation)
        try:
            for block in blocks:
                if block["type"] != "text":
                    turn.say(f"{_describe(block)}\n")
            if text.strip() or not blocks:
                follow(turn, text)
        except Cancelled:
            return {"stopReason": "cancelled"}
        finally:
            conversation.history.append(("agent", turn.said))
            conversation.save()
        return {"stopReason": "end_turn"}

    def _conversation(self, params: Params) -> Conversation:
        if (conversation := self._known(params)) is None:
            raise no_session(params.get("sessionId"))
        return conversation

    def _known(self, params: Params) -> Conversation | None:
        session_id = params.get("sessionId")
        return self._conversations.get(session_id) if isinstance(session_id, str) else None

    def _update(self, conversation: Conversation, update: dict[str, Any]) -> None:
        self._client.notify("session/update", {"sessionId": conversation.id, "update": update})


def _text(params: Params, name: str) -> str:
    if not isinstance(value := params.get(name), str):
        raise RpcError(INVALID_PARAMS, f"{name} must be a string")
    return value


def _describe(block: dict[str, Any]) -> str:
    """A content block that is not text, in a few words."""
    match block["type"]:
        case "image" | "audio" as kind:
            article = "an image" if kind == "image" else "a sound"
            return f"I got {article} ({block['mimeType']}, {len(a2b_base64(block['data']))} bytes)."
        case "resource_link":
            return f"I got a link to {block['uri']}."
        case "resource":
            resource = block["resource"]
            content = resource.get("text") or resource.get("blob") or ""
            return f"I got {resource['uri']} ({len(content)} characters)."
        case kind:
            return f"I got a block of type {kind}."
