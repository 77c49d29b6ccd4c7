"""What each command of ``acp-gateway`` does, once its options are in the configuration."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from socket import socket

import attrs
from aiohttp import web

from gateway import logs
from gateway.accepting import allow_descriptors
from gateway.agenthost import catalogue
from gateway.agenthost.settings import AgentHostConfig
from gateway.app import address_policy, build_app
from gateway.config import AgentHostConfig as AgentHostSettings
from gateway.config import Config, ServerConfig, is_loopback
from gateway.credentials.checking import check_keys, used_keys
from gateway.credentials.keyring import FILE_NAME, Key, KeyRing, Keys, changing, write_file
from gateway.db.embedded import EmbeddedPostgres, default_data_dir, is_data_dir, owner_of, url_of_running
from gateway.db.migrate import migrate
from gateway.db.pool import Database
from gateway.errors import ConfigError, StartError
from gateway.identity.caller import flaw_of_user_id
from gateway.identity.local import LocalMode
from gateway.identity.safety import refuse_unsafe
from gateway.keys import PROJECTS
from gateway.loading import environment
from gateway.log.lease import Leases
from gateway.log.presence import Presence
from gateway.log.store import Log
from gateway.oauth.configured import configured as configured_providers
from gateway.projects import Projects
from gateway.proxy.policy import AddressPolicy
from gateway.proxy.upstream import Upstream
from gateway.registration import register
from gateway.serving import address, bind, bind_shared, reload_on_hangup, serving, stop_on_signals
from gateway.settings import Changes, Reloading, Settings
from gateway.supervisor import supervising

logger = logging.getLogger(__name__)

SIDECAR_PROJECT = "default"
DEMO_PROJECT = DEMO_AGENT = "demo"
#: How often a running gateway looks whether its PostgreSQL is still there.
LOOK_SECONDS = 1.0

Say = Callable[[str], None]


async def up(config: Config, container_port: int, say: Say) -> None:
    """The whole product on this machine: PostgreSQL, an agent host in a container's place, the gateway, a project."""
    began = time.monotonic()
    stopped = stop_on_signals()
    _refuse_other_users(config)
    config = _side_by_side(config, container_port)
    if not config.database.url:
        _refuse_second(_data_dir(config))
    async with AsyncExitStack() as stack:
        gateway_socket, host_socket = _bind_both(config, stack)
        workspace = _workspace(config)
        config, postgres = await stack.enter_async_context(_database(config, say))
        if stopped.is_set():
            return
        await _settle(config, postgres, say)
        await stack.enter_async_context(serving(_agent_host_app(config, workspace), host_socket, shutdown_timeout=5))
        say(f"agent host    {_url(config.agent_host)} (workspace {workspace})")
        app = build_app(config)
        timeout = config.server.shutdown_timeout
        await stack.enter_async_context(serving(app, gateway_socket, shutdown_timeout=timeout))
        container = f"http://127.0.0.1:{container_port}"
        await register(app[PROJECTS], DEMO_PROJECT, container, default_agent_id=DEMO_AGENT)
        base = _url(config.server)
        say(f"gateway       {base}")
        say(f"project       {base}/api/projects/{DEMO_PROJECT} (container {container})")
        say(_welcome(base, time.monotonic() - began))
        await _until(stopped, postgres)
        say("\nstopping")
    say("stopped; start again with the same command, everything is kept")


async def serve(
    config: Config, container: str | None, owner: str | None, say: Say, read: Callable[[], Config] | None = None
) -> None:
    """The gateway alone; with ``container``, in front of that one, which belongs to ``owner``.

    ``read`` gives the configuration as it is then; SIGHUP asks for it.
    """
    stopped = stop_on_signals()
    reload_wanted = reload_on_hangup() if read is not None else asyncio.Event()
    allow_descriptors()
    _check_owner(config, container, owner)

    def completed(config: Config) -> Config:
        refuse_unsafe(config)
        address_policy(config.containers)
        configured_providers(config.providers, config.oauth)
        return config if container is None else _allowing(config, _address_of(container))

    config = at_start = completed(config)
    if not config.database.url:
        _refuse_second(_data_dir(config))
    async with AsyncExitStack() as stack:
        where = (config.server.host, config.server.port)
        sockets = [
            stack.enter_context(sock)
            for sock in bind_shared(*where, config.server.workers, purpose="The gateway", option="--port")
        ]
        config, postgres = await stack.enter_async_context(_database(config, say))
        if stopped.is_set():
            return
        await _settle(config, postgres, say, container, owner)
        served = await stack.enter_async_context(_serving(config, sockets, stopped, say))
        reloading = Reloading(at_start, lambda: completed(read() if read else at_start), served.change)
        if container is not None:
            say(f"project       {_url(config.server)}/api/projects/{SIDECAR_PROJECT} (container {container})")
        say(f"identity      {', '.join(config.identity.modes)}")
        say(f"gateway       {_url(config.server)}")

        def look() -> None:
            served.check()
            if reload_wanted.is_set():
                reload_wanted.clear()
                reloading.reload()

        await _until(stopped, postgres, look)


@attrs.frozen(kw_only=True)
class _Served:
    """A gateway that runs: ``check`` raises why it cannot go on, ``change`` has it take other settings."""

    check: Callable[[], None]
    change: Callable[[Changes], None]


@asynccontextmanager
async def _serving(
    config: Config, sockets: Sequence[socket], stopped: asyncio.Event, say: Say
) -> AsyncIterator[_Served]:
    """The gateway on these sockets: in this process, or where there are several in as many workers."""
    if len(sockets) == 1:
        settings = Settings(config)
        settings.on_change(lambda changed: logs.configure(changed.logging))
        async with serving(build_app(settings), sockets[0], shutdown_timeout=config.server.shutdown_timeout):
            yield _Served(check=lambda: None, change=settings.change)
        return
    async with supervising(config, sockets, stopped) as supervisor:
        if not stopped.is_set():
            say(f"workers       {len(sockets)} (processes {', '.join(map(str, supervisor.pids))})")
        yield _Served(check=supervisor.check, change=supervisor.change)


async def _settle(
    config: Config, postgres: EmbeddedPostgres | None, say: Say, container: str | None = None, owner: str | None = None
) -> None:
    """What must be before any gateway process starts: keys, the sidecar's project; nobody holds what dead ones held.

    A PostgreSQL of our own has no other user: what a gateway that was killed held is free at once.
    """
    async with await Database.open(config.database.url, size=1) as database:
        if postgres is not None:
            await Leases(database, holder="", seconds=config.events.lease).expire_all()
            await Presence.expire_all(database)
        await _warn_of_log(database)
        await _make_first_key(config, database, say)
        await check_keys(database, Keys.load(config.vault))
        if container is not None:
            await register(Projects(database), SIDECAR_PROJECT, container, owner=owner)


async def _warn_of_log(database: Database) -> None:
    if statements := await database.log_advice():
        logger.warning(
            "PostgreSQL's log gets the text of statements that fail, and prompts in it; its administrator can run: %s",
            statements,
        )


async def _make_first_key(config: Config, database: Database, say: Say) -> None:
    """A key in the data directory, where none is configured and nothing is sealed yet: a lost one is not replaced."""
    if config.vault.key_file and not await used_keys(database):
        await asyncio.to_thread(_make_missing_key, config, say)


def _make_missing_key(config: Config, say: Say) -> None:
    file = Path(config.vault.key_file)
    if not file.exists() and file == _data_dir(config) / FILE_NAME:
        with changing(file):
            write_file(file, KeyRing([Key.make()]))
        say(f"vault key     {file} (made just now: keep a copy of it, without it stored tokens are lost)")


def with_keys_beside_data(config: Config) -> Config:
    """The configuration with the vault's keys in the data directory, unless it says where they are."""
    if config.vault.key_file or config.vault.keys:
        return config
    file = _data_dir(config) / FILE_NAME
    return attrs.evolve(config, vault=attrs.evolve(config.vault, key_file=str(file)))


async def agent_host(config: Config, say: Say) -> None:
    """The agent host alone, as it runs inside a container."""
    stopped = stop_on_signals()
    settings = config.agent_host
    if not settings.token and not is_loopback(settings.host):
        raise ConfigError(
            f"The agent host runs programs for whoever reaches it: to listen on {settings.host} set ACP_HOST_TOKEN, "
            "and the same secret as containers.token of the gateway"
        )
    with bind(settings.host, settings.port, purpose="The agent host", option="--port") as sock:
        workspace = _workspace(config)
        async with serving(_agent_host_app(config, workspace), sock, shutdown_timeout=5):
            say(f"agent host    {_url(settings)} (workspace {workspace})")
            await stopped.wait()


async def migrate_database(config: Config, restored: bool, say: Say) -> None:
    """Bring the database's schema up to date, and stop; ``restored``: it was restored from a backup."""
    async with _database(config, say) as (found, _):
        if restored:
            async with await Database.open(found.database.url, size=1) as database:
                await Log(database).begin_epochs()
            say("restored      every client that comes back is told to begin anew")


@asynccontextmanager
async def _database(config: Config, say: Say) -> AsyncIterator[tuple[Config, EmbeddedPostgres | None]]:
    """The configuration with a database that is there and up to date: the configured one, else the embedded one."""
    server = None
    if not config.database.url:
        data_dir = _data_dir(config)
        server = await asyncio.to_thread(EmbeddedPostgres.start, data_dir)
        say(f"PostgreSQL    {data_dir} (log: {data_dir / 'postgres.log'})")
        config = attrs.evolve(config, database=attrs.evolve(config.database, url=server.url))
        config = with_keys_beside_data(config)
    else:
        say("PostgreSQL    the one that database.url names")
    try:
        applied = await asyncio.to_thread(migrate, config.database.url)
        say(f"migrations    {', '.join(applied) if applied else 'up to date'}")
        yield config, server
    finally:
        if server is not None:
            await asyncio.to_thread(server.stop)


@asynccontextmanager
async def reach_database(config: Config) -> AsyncIterator[Database]:
    """The database, for a command that changes something in it and ends: whether or not a gateway runs on it."""
    if not config.database.url:
        data_dir = _data_dir(config)
        if not is_data_dir(data_dir):
            raise StartError(
                f"There is no database in {data_dir}: name the gateway's own with --config FILE or --data-dir DIR, or "
                "start the gateway once"
            )
        running = await asyncio.to_thread(url_of_running, data_dir)
        config = attrs.evolve(config, database=attrs.evolve(config.database, url=running or ""))
    async with (
        _database(config, lambda _: None) as (found, _),
        await Database.open(found.database.url, size=2) as database,
    ):
        yield database


async def _until(
    stopped: asyncio.Event, postgres: EmbeddedPostgres | None, check: Callable[[], None] = lambda: None
) -> None:
    """Wait for the signal to stop; ``check`` raises where something ends that cannot be done without.

    ``StartError`` where that is the embedded PostgreSQL.
    """
    while not stopped.is_set():
        check()
        if postgres is not None and postgres.pid is None:
            raise StartError("PostgreSQL has ended by itself; its log says why. Start again: what was stored is kept")
        with suppress(TimeoutError):
            await asyncio.wait_for(stopped.wait(), LOOK_SECONDS)


def _side_by_side(config: Config, container_port: int) -> Config:
    """The configuration with an agent host on this machine in the place of a container's two ports."""
    if not 1 <= container_port <= 65534:
        raise ConfigError(
            f"--container-port: must be from 1 to 65534 (the agent host takes the next one), not {container_port}"
        )
    if config.server.port in (container_port, container_port + 1):
        raise ConfigError(
            f"--port {config.server.port} is one of the two ports that stand for the container's "
            f"({container_port} and {container_port + 1}); choose another --port or --container-port"
        )
    host = attrs.evolve(config.agent_host, host="127.0.0.1", port=container_port + 1)
    containers = attrs.evolve(
        config.containers, opencode_port=container_port, acp_port=container_port + 1, token=host.token
    )
    return attrs.evolve(config, containers=containers, agent_host=host)


def _bind_both(config: Config, stack: AsyncExitStack) -> tuple[socket, socket]:
    """The gateway's socket and the agent host's; whoever has to choose other ports hears of both at once."""
    sockets, failures, others = [], [], []
    for settings, port, purpose, option in (
        (config.server, config.server.port, "The gateway", "--port"),
        (config.agent_host, config.containers.opencode_port, "The agent host", "--container-port"),
    ):
        try:
            sockets.append(stack.enter_context(bind(settings.host, settings.port, purpose=purpose, option=option)))
        except StartError as exc:
            failures.append(str(exc))
            others.append(f"{option} {port + 1000 if port < 64000 else port - 1000}")
    if failures:
        raise StartError(f'{". ".join(failures)}. With make: make up ARGS="{" ".join(others)}"')
    return sockets[0], sockets[1]


def _refuse_second(data_dir: Path) -> None:
    """Before the ports are tried: to be told of those, one after the other, would help nobody here."""
    owner = owner_of(data_dir)
    if owner is not None:
        raise StartError(
            f"A gateway (process {owner}) is running on {data_dir} already: stop it, or give this one a --data-dir "
            "and ports of its own"
        )


def _refuse_other_users(config: Config) -> None:
    """``up`` is one user's, on this machine."""
    refuse_unsafe(config)
    if LocalMode.name not in config.identity.modes:
        raise ConfigError(
            f"identity.modes names {', '.join(config.identity.modes)}, but up is for the one user of this machine: "
            "name local too, or use serve"
        )


def _check_owner(config: Config, container: str | None, owner: str | None) -> None:
    if owner is not None:
        flaw = "it goes with --container" if container is None else flaw_of_user_id(owner)
        if flaw is not None:
            raise ConfigError(f"--owner {owner!r}: {flaw}")
    elif container is not None and LocalMode.name not in config.identity.modes:
        raise ConfigError(
            "--container makes a project, and identity.modes do not name local, whose it would be: name its owner with "
            "--owner"
        )


def _address_of(container: str) -> Upstream:
    try:
        return Upstream.parse(container)
    except ValueError as exc:
        raise ConfigError(f"--container: {exc}") from exc  # without the address: there may be a password in it


def _allowing(config: Config, container: Upstream) -> Config:
    """The configuration with this one more address that containers may have: its operator has named it."""
    try:
        AddressPolicy.parse([container.host]).check_literal(container.host)
    except ValueError as exc:
        raise ConfigError(f"--container {container}: {exc}") from exc
    allow = (*config.containers.allow, container.host)
    return attrs.evolve(config, containers=attrs.evolve(config.containers, allow=allow))


def _data_dir(config: Config) -> Path:
    if config.embedded.data_dir:
        return _path(config.embedded.data_dir, "The data directory")
    try:
        return default_data_dir(environment())
    except RuntimeError:
        raise StartError("There is no home directory to keep the data in; name a directory with --data-dir") from None


def _workspace(config: Config) -> Path:
    workspace = _path(config.agent_host.workspace, "The workspace")
    try:
        workspace.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else exc
        raise StartError(
            f"The workspace {workspace} cannot be made: {reason}; choose another with --workspace"
        ) from exc
    return workspace


def _path(text: str, what: str) -> Path:
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError as exc:
        raise StartError(f"{what} {text}: there is no such home directory") from exc


def _agent_host_app(config: Config, workspace: Path) -> web.Application:
    # ACP's models take a second or two to import; the other commands do without them.
    from gateway.agenthost.app import build_app as build_agent_host

    settings = config.agent_host
    agents = catalogue.load(Path(settings.catalogue)) if settings.catalogue else catalogue.BUILT_IN
    return build_agent_host(
        AgentHostConfig(
            workspace=workspace,
            token=settings.token or None,
            catalogue=agents,
            environment=environment(),
            permission_timeout=settings.permission_timeout,
            journal_size=settings.journal_events,
        )
    )


def _url(settings: ServerConfig | AgentHostSettings) -> str:
    return f"http://{address(settings.host, settings.port)}"


def _welcome(base: str, seconds: float) -> str:
    acp = f"{base}/api/projects/{DEMO_PROJECT}/acp"
    json = "-H 'Content-Type: application/json'"
    return f"""\
ready in {seconds:.1f} s; Ctrl-C stops everything. Open {base}/console in a browser, {base}/docs for
the API, or try it from another terminal:

  SESSION=$(curl -s {acp}/session {json} -d '{{"title": "first steps"}}' | grep -o 'ses_[0-9a-f]*')
  curl -s {acp}/session/$SESSION/prompt {json} -H 'Prefer: wait=60' -d '{{"prompt": "think\\nstream 5"}}'
  curl -s {acp}/session/$SESSION/messages
"""
