"""A session: its history and settings, and the file that stores both."""

import json
import os
import threading
from typing import Any

from gateway.agenthost.demo.rpc import INVALID_PARAMS, RpcError

MODES = {"ask": ("Ask", "Asks before it writes"), "auto": ("Auto", "Writes without asking")}
#: Seconds between two chunks.
SPEEDS = {"instant": 0.0, "normal": 0.01, "slow": 0.2}


class Conversation:
    def __init__(self, session_id: str, cwd: str) -> None:
        self.id = session_id
        self.cwd = cwd
        self.mode = "ask"
        self.speed = "instant"
        self.always_allowed = False
        #: Role (`user` or `agent`) and text.
        self.history: list[tuple[str, str]] = []
        self.cancelled = threading.Event()
        self._saving = threading.Lock()

    @classmethod
    def new(cls, cwd: str) -> "Conversation":
        conversation = cls(f"demo-{os.urandom(16).hex()}", cwd)
        conversation.save()
        return conversation

    @classmethod
    def load(cls, session_id: str, cwd: str) -> "Conversation":
        # The id becomes a file name.
        if not session_id.startswith("demo-") or not session_id[5:].isalnum():
            raise no_session(session_id)
        try:
            with open(_state_file(session_id), encoding="utf-8") as file:
                kept = json.load(file)
        except OSError:
            raise no_session(session_id) from None
        conversation = cls(session_id, cwd)
        conversation.mode, conversation.speed = kept["mode"], kept["speed"]
        conversation.history = [(role, text) for role, text in kept["history"]]
        return conversation

    def save(self) -> None:
        path = _state_file(self.id)
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        # A turn may end while the client changes the mode, and `crash` may end the process at any time.
        with self._saving:
            with open(f"{path}.new", "w", encoding="utf-8") as file:
                json.dump({"mode": self.mode, "speed": self.speed, "history": self.history}, file)
            os.replace(f"{path}.new", path)

    @property
    def prompts(self) -> int:
        return sum(role == "user" for role, _ in self.history)

    def modes(self) -> dict[str, Any]:
        """ACP's `SessionModeState`."""
        available = [{"id": id, "name": name, "description": about} for id, (name, about) in MODES.items()]
        return {"currentModeId": self.mode, "availableModes": available}

    def options(self) -> list[dict[str, Any]]:
        """ACP's list of `SessionConfigOption`."""
        return [
            {
                "id": "speed",
                "name": "Speed",
                "description": "The pause between two chunks of an answer",
                "type": "select",
                "currentValue": self.speed,
                "options": [{"value": value, "name": value.capitalize()} for value in SPEEDS],
            }
        ]


def no_session(session_id: Any) -> RpcError:
    return RpcError(INVALID_PARAMS, f"there is no session {session_id}")


def _state_file(session_id: str) -> str:
    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return os.path.join(state, "acp-demo-agent", f"{session_id}.json")
