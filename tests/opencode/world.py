"""Where an OpenCode of the tests lives: a home of its own, our model for its provider, no network."""

import json
import os
from pathlib import Path
from typing import Any

import attrs


@attrs.frozen(kw_only=True)
class World:
    """A home and a workspace for one OpenCode, below one directory."""

    root: Path

    @property
    def workspace(self) -> Path:
        return self.root / "workspace"

    @classmethod
    def create(cls, root: Path) -> "World":
        world = cls(root=root)
        for directory in (world.workspace, root / "tmp"):
            directory.mkdir(parents=True, exist_ok=True)
        return world

    def host_environment(self) -> dict[str, str]:
        """What any program needs to find itself at home."""
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.root),
            # It unpacks a library into the temporary directory at every start and leaves it there.
            "TMPDIR": str(self.root / "tmp"),
            **{f"XDG_{kind}_HOME": str(self.root / kind.lower()) for kind in ("CONFIG", "DATA", "CACHE", "STATE")},
        }

    def opencode_environment(self, model_url: str) -> dict[str, str]:
        """OpenCode's own settings. The provider package is built in, and nothing else is fetched."""
        return {
            "OPENCODE_CONFIG_CONTENT": json.dumps(configuration(model_url)),
            "OPENCODE_DISABLE_AUTOUPDATE": "1",
            "OPENCODE_DISABLE_MODELS_FETCH": "1",
            "OPENCODE_DISABLE_SHARE": "1",
            "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
            "OPENCODE_DISABLE_DEFAULT_PLUGINS": "1",
            # At every start it installs its plugin package in the background; without it, it only warns.
            "npm_config_offline": "true",
            "npm_config_registry": "http://127.0.0.1:9/",
        }


def configuration(model_url: str) -> dict[str, Any]:
    """``opencode.json``: one provider, which is ours, and every command and edit asked for."""
    model = {
        "name": "Scripted",
        "attachment": True,
        "tool_call": True,
        "modalities": {"input": ["text", "image"], "output": ["text"]},
        "limit": {"context": 200_000, "output": 8_000},
    }
    provider = {
        "npm": "@ai-sdk/openai-compatible",
        "name": "Tests",
        "options": {"baseURL": model_url, "apiKey": "sk-tests"},
        "models": {"scripted": model},
    }
    return {
        "provider": {"tests": provider},
        "enabled_providers": ["tests"],
        "model": "tests/scripted",
        "small_model": "tests/scripted",
        "permission": {"bash": "ask", "edit": "ask"},
        "autoupdate": False,
        "share": "disabled",
        "lsp": False,
        "formatter": False,
    }
