"""``acp-gateway agent list``, ``check`` and ``add``: the agents of this machine and of its catalogue file."""

import asyncio
import json
import logging
import os
import platform
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import aiohttp
import attrs

from gateway.agenthost import catalogue, registry
from gateway.agenthost.catalogue import AgentSpec, canonical
from gateway.agenthost.trial import Trial, Tried
from gateway.cli.say import Say
from gateway.config.load import environment
from gateway.config.schema import Config
from gateway.errors import BadRequest, ConfigError, GatewayError, UsageError

#: Seconds for an agent to start, and for a registry to answer.
START_SECONDS, REGISTRY_SECONDS = 30.0, 30.0
_HEADINGS: Final = ("AGENT", "VERSION", "STARTS", "CAN", "NOTE")


async def list_here(config: Config, say: Say, *, as_json: bool) -> None:
    """The agents that could run on this machine, without starting any."""
    trial = Trial(environment(), Path.cwd(), seconds=START_SECONDS)
    tried = [await trial.look(spec) for spec in _catalogue(config).values()]
    _show(tried, say, as_json=as_json, ran=False)


async def check(config: Config, say: Say, *, agents: Sequence[str], as_json: bool) -> None:
    """Start and initialise these agents, or all; fails if one that was named does not work."""
    known = _catalogue(config)
    wanted = [canonical(name) for name in agents] or list(known)
    if missing := [name for name in wanted if name not in known]:
        raise UsageError(f"there is no agent {', '.join(missing)} (known here: {', '.join(known)})")
    # That each of them ends again is no news here.
    logging.getLogger("gateway.agenthost").setLevel(logging.WARNING)
    with tempfile.TemporaryDirectory() as directory:
        trial = Trial(environment(), Path(directory), seconds=START_SECONDS)
        tried = [await trial.run(known[name]) for name in wanted]
    _show(tried, say, as_json=as_json, ran=True)
    if agents and not all(one.works for one in tried):
        raise UsageError(f"{', '.join(one.id for one in tried if not one.works)} does not work here")


async def add(config: Config, say: Say, *, agent: str, file: Path | None, yes: bool) -> None:
    """Write an agent of the ACP registry into the catalogue file, after showing what would run."""
    if not config.agent_host.catalogue:
        raise UsageError("name the file to write to: --catalogue FILE, or agent_host.catalogue in the configuration")
    target = Path(config.agent_host.catalogue)
    raw = await _from_registry(config) if file is None else await asyncio.to_thread(_read, file)
    found = registry.find(raw, agent, _platform())
    before = await asyncio.to_thread(_without, found.spec.id, target)
    for line in found.lines():
        say(line)
    is_known = canonical(found.spec.id) in catalogue.BUILT_IN
    if is_known:
        say(f"  {canonical(found.spec.id)} is built in, and the rest stays as it is there")
    if not yes and not await asyncio.to_thread(_agrees, target):
        raise UsageError("nothing was written; --yes writes it without asking")
    _write(target, f"{before.rstrip()}\n\n{found.to_toml(is_known=is_known)}".lstrip())
    say(f"written to {target}; a running agent host reads it again on SIGHUP")


def _catalogue(config: Config) -> dict[str, AgentSpec]:
    file = config.agent_host.catalogue
    return dict(catalogue.load(Path(file)) if file else catalogue.BUILT_IN)


async def _from_registry(config: Config) -> bytes:
    address = config.agent_host.registry
    if not address:
        raise UsageError(
            "name the registry's file with --file FILE, or allow its address with agent_host.registry in the "
            "configuration, such as https://cdn.agentclientprotocol.com/registry/v1/latest/registry.json"
        )
    timeout = aiohttp.ClientTimeout(total=REGISTRY_SECONDS)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, trust_env=True) as session,
            session.get(address, allow_redirects=False) as response,
        ):
            if response.status != 200:
                raise ConfigError(f"agent_host.registry: {address} answers {response.status}")
            raw = await response.content.read(registry.MAX_REGISTRY + 1)
            while len(raw) <= registry.MAX_REGISTRY and (more := await response.content.readany()):
                raw += more
    except (aiohttp.ClientError, TimeoutError) as exc:
        raise ConfigError(f"agent_host.registry: {address} cannot be read: {exc or 'no answer'}") from exc
    return _bounded(raw, address)


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            return _bounded(opened.read(registry.MAX_REGISTRY + 1), str(file))
    except OSError as exc:
        raise UsageError(f"--file {file}: {exc.strerror}") from exc


def _without(agent_id: str, target: Path) -> str:
    """The catalogue file as it is; ``ConfigError`` if it has this agent."""
    if not target.exists():
        return ""
    if canonical(agent_id) in catalogue.named_in(target):
        raise ConfigError(f"{target} has an agent {agent_id} already; remove that first")
    return target.read_text("utf-8")


def _bounded(raw: bytes, place: str) -> bytes:
    if len(raw) > registry.MAX_REGISTRY:
        raise BadRequest(f"{place} has more than {registry.MAX_REGISTRY} bytes")
    return raw


def _agrees(target: Path) -> bool:
    """Whether the person at the terminal wants it written; without one nobody does."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    sys.stderr.write(f"Write this to {target}? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _write(target: Path, text: str) -> None:
    """In one piece, and only if it can be read again."""
    directory = target.resolve().parent
    try:
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=directory, suffix=".toml", delete=False) as file:
            file.write(text)
        new = Path(file.name)
        try:
            catalogue.load(new)
            new.chmod(target.stat().st_mode & 0o777 if target.exists() else 0o644)
            os.replace(new, target.resolve())
        except BaseException:
            new.unlink(missing_ok=True)
            raise
    except OSError as exc:
        raise GatewayError(f"{target} cannot be written: {exc.strerror}") from exc


def _platform() -> str:
    """This machine as the registry names it."""
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine().lower(), platform.machine().lower())
    return f"{platform.system().lower()}-{machine}"


def _show(tried: Sequence[Tried], say: Say, *, as_json: bool, ran: bool) -> None:
    if as_json:
        say(json.dumps([attrs.asdict(one) for one in tried], indent=2))
        return
    rows = [_HEADINGS, *(_row(one, ran) for one in tried)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        say(registry.plain("  ".join(map(str.ljust, row, widths)).rstrip()))


def _row(one: Tried, ran: bool) -> tuple[str, ...]:
    starts = "not found" if one.program is None else "no" if one.problem else "yes" if ran else "-"
    notes = [one.problem or "", one.warning or ""]
    if one.logins:
        notes.append(f"logins: {', '.join(one.logins)}")
    return one.id, one.version or "-", starts, " ".join(one.can) or "-", "; ".join(filter(None, notes)) or "-"
