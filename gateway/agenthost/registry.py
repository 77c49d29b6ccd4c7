"""Entries of the ACP registry as entries of a catalogue file. Pure.

    {"id": "x", "name": "X", "version": "1.2.3", "description": "…", "distribution": {
        "npx": {"package": "x@1.2.3", "args": ["--acp"], "env": {}}, "uvx": {…},
        "binary": {"linux-x86_64": {"archive": "https://…", "cmd": "./x", "args": ["acp"], "env": {}}, …}}}

https://github.com/agentclientprotocol/registry
"""

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

import attrs

from gateway.agenthost.catalogue import AgentSpec
from gateway.agenthost.environment import is_name
from gateway.errors import BadRequest
from gateway.wire.codec import DecodeError, from_builtins, parse_json

#: Bytes of a registry's file.
MAX_REGISTRY = 4 * 1024 * 1024
#: Characters of a list of ids that are shown.
_SHOWN = 2000
_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
#: A program that fetches a package and runs it, by distribution.
_RUNNERS: Mapping[str, tuple[str, ...]] = {"npx": ("npx", "--yes"), "uvx": ("uvx",)}


@attrs.frozen(kw_only=True)
class _Program:
    """A way to run an agent: a package, or an archive with a program in it."""

    package: str = ""
    archive: str = ""
    cmd: str = ""
    args: tuple[str, ...] = ()
    env: dict[str, str] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class Found:
    """An agent of the registry, as it would run here."""

    spec: AgentSpec
    version: str

    def lines(self) -> list[str]:
        """What would run, for a person to look at: without characters that a terminal obeys."""
        return [plain(line) for line in self._lines()]

    def _lines(self) -> Iterator[str]:
        yield f"{self.spec.id} {self.version}: {self.spec.name}"
        if self.spec.description:
            yield f"  {self.spec.description}"
        yield f"  runs     {shlex.join(self.spec.command)}"
        for name, value in self.spec.env.items():
            yield f"  with     {name}={shlex.quote(value)}"
        if self.spec.install:
            yield f"  install  {self.spec.install}"

    def to_toml(self, *, is_known: bool) -> str:
        """A table for a catalogue file; of a known agent only how it runs."""
        members: dict[str, Any] = {"command": list(self.spec.command), "install": self.spec.install}
        if not is_known:
            told = {"name": self.spec.name, "description": self.spec.description}
            members = {**told, **members, "requires_auth": self.spec.requires_auth}
        lines = [f"[agents.{json.dumps(self.spec.id)}]"]
        lines += [f"{name} = {_toml(value)}" for name, value in members.items()]
        env = ", ".join(f"{name} = {_toml(value)}" for name, value in self.spec.env.items())
        return "\n".join([*lines, *([f"env = {{ {env} }}"] if env else [])]) + "\n"


def find(raw: bytes, agent_id: str, platform: str) -> Found:
    """The agent of this id in a registry's file, or in the file of one entry. BadRequest if it cannot be used.

    `platform`: as the registry names it, such as ``linux-x86_64``.
    """
    try:
        value = parse_json(raw)
    except DecodeError as exc:
        raise BadRequest(f"this is not JSON: {exc}") from exc
    listed = value.get("agents") if isinstance(value, dict) else None
    entries = [one for one in (listed if isinstance(listed, list) else [value]) if isinstance(one, dict)]
    entry = next((one for one in entries if one.get("id") == agent_id), None)
    if entry is None:
        known = ", ".join(sorted(str(one.get("id")) for one in entries)) or "none"
        raise BadRequest(f"there is no agent {agent_id} in it (there are: {plain(known[:_SHOWN])})")
    return _found(entry, platform)


def plain(text: str) -> str:
    """Foreign text for a terminal, without characters that it obeys."""
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text)


def _found(entry: dict[str, Any], platform: str) -> Found:
    agent_id = _text(entry, "id")
    if not _ID.fullmatch(agent_id):
        raise BadRequest(f"$.id: {agent_id!r} cannot be an agent's id")
    command, program, install = _runs(entry.get("distribution"), platform)
    for name in program.env:
        if not is_name(name):
            raise BadRequest(f"$.distribution: {name!r} cannot be a variable's name")
    spec = AgentSpec(
        id=agent_id,
        name=_text(entry, "name") or agent_id,
        description=_text(entry, "description"),
        command=(*command, *program.args),
        # Whether it needs an account shows when it is used.
        requires_auth=False,
        env=program.env,
        install=install,
    )
    return Found(spec=spec, version=_text(entry, "version"))


def _runs(distribution: Any, platform: str) -> tuple[tuple[str, ...], _Program, str]:
    """The command before its arguments, its program, and how that is installed."""
    if not isinstance(distribution, dict):
        raise BadRequest("$.distribution: must be an object")
    for kind, runner in _RUNNERS.items():
        if kind in distribution:
            program = _program(distribution[kind], f"$.distribution.{kind}")
            if not program.package or program.package.startswith("-"):
                raise BadRequest(f"$.distribution.{kind}.package: must name a package")
            return (*runner, program.package), program, f"{runner[0]} fetches {program.package} when it is first used"
    binaries = distribution.get("binary")
    if isinstance(binaries, dict) and platform in binaries:
        program = _program(binaries[platform], f"$.distribution.binary.{platform}")
        name = PurePosixPath(program.cmd).name
        if not name or name.startswith("-"):
            raise BadRequest(f"$.distribution.binary.{platform}.cmd: must name a program")
        return (name,), program, f"unpack {program.archive} and put {name} into PATH"
    kinds = ", ".join([*distribution, *(binaries if isinstance(binaries, dict) else ())])
    raise BadRequest(f"$.distribution: has nothing for {platform}, npx or uvx (it has: {plain(kinds) or 'nothing'})")


def _program(value: Any, place: str) -> _Program:
    known = {field.name for field in attrs.fields(_Program)}
    try:
        return from_builtins(_Program, {name: one for name, one in _object(value).items() if name in known})
    except DecodeError as exc:
        raise BadRequest(f"{place}{str(exc).removeprefix('$')}") from exc


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(entry: Mapping[str, Any], name: str) -> str:
    """One line."""
    value = entry.get(name)
    return " ".join(value.split()) if isinstance(value, str) else ""


def _toml(value: Any) -> str:
    # JSON's strings are TOML's, except for DEL.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")
