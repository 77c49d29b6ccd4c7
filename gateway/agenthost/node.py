"""Which Node.js an agent's program would run on: npm installs older versions of an agent for an older Node.js."""

import asyncio
import os
import re
import shutil
from collections.abc import Mapping
from contextlib import suppress

from gateway.agenthost import environment
from gateway.agenthost.catalogue import AgentSpec

_SECONDS = 10.0
#: Bytes of a program in which its first line ends.
_HEAD = 256
_VERSION = re.compile(r"v(\d{1,4})\.\S{1,40}")


class NodeVersions:
    """The versions that were found, by program and the time of its last change."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, float], str | None] = {}

    async def warning(self, spec: AgentSpec, env: Mapping[str, str]) -> str | None:
        """What is to be said of the Node.js that this environment has for the agent; None if it is recent enough."""
        program = environment.find_program(spec, env)
        if not spec.node or program is None or not await asyncio.to_thread(_is_script, program):
            return None
        wanted = f"needs Node.js {spec.node} or newer"
        if (node := shutil.which("node", path=env.get("PATH", ""))) is None:
            return f"{wanted}, and there is none in PATH"
        version = await self._version(node, env)
        if version is None or int(version.split(".")[0]) >= spec.node:
            return None
        return f"{wanted}, and {node} is {version}, for which npm installs older versions of agents"

    async def _version(self, node: str, env: Mapping[str, str]) -> str | None:
        key = node, os.stat(node).st_mtime
        if key not in self._found:
            self._found[key] = await _ask(node, env)
        return self._found[key]


async def _ask(node: str, env: Mapping[str, str]) -> str | None:
    with suppress(OSError, TimeoutError):
        process = await asyncio.create_subprocess_exec(
            *(node, "--version"),
            env=dict(env),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            async with asyncio.timeout(_SECONDS):
                output, _ = await process.communicate()
        except BaseException:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            raise
        if found := _VERSION.fullmatch(output.decode("utf-8", "replace").strip()):
            return found[0][1:]
    return None


def _is_script(program: str) -> bool:
    """Whether its first line names Node.js."""
    with suppress(OSError), open(program, "rb") as file:
        head = file.read(_HEAD).split(b"\n", 1)[0]
        return head.startswith(b"#!") and b"node" in head
    return False
