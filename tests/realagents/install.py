"""Real agents for the tests: from npm and PyPI, pinned, once into the tests' cache.

Those of npm get a Node.js that is new enough for all, each of PyPI an environment of its own. They are large, so not
all of them are tried each time: ``ACP_GATEWAY_TEST_AGENTS`` names those that are, divided by commas, or ``all``.
"""

import os
import platform
from collections.abc import Mapping
from pathlib import Path

from tests import machine
from tests.opencode.install import opencode

NODE = "24.21.0"
_ARCHITECTURES = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64", "arm64": "arm64"}
#: Agent → what npm installs; the ids are the catalogue's.
PACKAGES: dict[str, tuple[str, ...]] = {
    "claude-code": ("@agentclientprotocol/claude-agent-acp@0.100.0",),
    "codex": ("@agentclientprotocol/codex-acp@2.6.0",),
    # Without what it wants for a terminal, which is compiled.
    "gemini": ("--omit=optional", "@google/gemini-cli@0.61.0"),
    "qwen-code": ("@qwen-code/qwen-code@0.24.4",),
    "copilot": ("@github/copilot@1.0.102",),
    "auggie": ("@augmentcode/auggie@0.36.0",),
    "qoder": ("@qoder-ai/qodercli@1.1.52",),
    "factory-droid": ("droid@0.215.0",),
    "grok": ("@xai-official/grok@1.0.41",),
    "kilo": ("@kilocode/cli@7.7.7",),
    "pi": ("@earendil-works/pi-coding-agent@1.6.0", "pi-acp@0.0.34"),
    "cline": ("cline@3.0.65",),
}
#: Minor versions of Python 3 that all agents of PyPI run on.
PYTHONS = (13, 14)
#: Agent → what pip installs.
PYTHON_PACKAGES: dict[str, tuple[str, ...]] = {
    # It asks for Python 3.13.5, and runs on 3.13.0, too.
    "fast-agent": ("--ignore-requires-python", "fast-agent-mcp==0.10.48"),
    # Version 3.0.3 wants a version of certifi that PyPI has no more.
    "mistral-vibe": ("mistral-vibe==3.0.2",),
}
OPENCODE = "opencode"
ALL = (*PACKAGES, *PYTHON_PACKAGES, OPENCODE)
#: All that make a session without an account, and two small ones. From an empty cache they take three minutes.
BY_DEFAULT = (OPENCODE, "kilo", "fast-agent", "gemini", "qwen-code")


def chosen(environ: Mapping[str, str]) -> tuple[str, ...]:
    """The agents that are tried."""
    named = environ.get("ACP_GATEWAY_TEST_AGENTS", "")
    if named == "all":
        return ALL
    return tuple(filter(None, named.replace(" ", "").split(","))) or BY_DEFAULT


def path_of(agent: str) -> str:
    """A PATH with the agent's program, and what runs it, before the machine's own."""
    if agent == OPENCODE:
        return str(opencode(machine.cache_directory(os.environ)).parent)
    if agent in PYTHON_PACKAGES:
        packages = PYTHON_PACKAGES[agent]
        return str(machine.pip_packages(packages[-1], PYTHONS, *packages) / "bin")
    packages = PACKAGES[agent]
    name = packages[-1].strip("@").replace("/", "-")
    return os.pathsep.join([str(machine.npm_packages(name, *packages) / "node_modules" / ".bin"), str(_node())])


def _node() -> Path:
    package = f"node-{platform.system().lower()}-{_ARCHITECTURES.get(platform.machine().lower(), 'x64')}"
    return machine.npm_packages(f"{package}-{NODE}", f"{package}@{NODE}") / "node_modules" / package / "bin"
