"""``acp-gateway serve``: the gateway, in this process or in several."""

import asyncio
import shlex
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from socket import socket

import attrs

from gateway.app import build_app
from gateway.cli.database import open_database
from gateway.cli.local_access import TOKEN_FILE, announced
from gateway.cli.own_token import have_own_token, wants_own_token, with_tokens
from gateway.cli.places import data_dir, refuse_second
from gateway.cli.running import address_of, base_of, say_open, say_ready, until, url_of
from gateway.cli.say import Say
from gateway.cli.settling import SIDECAR_PROJECT, settle
from gateway.cli.terminal.credential import usual_data_dir
from gateway.config.load import environment
from gateway.config.reload import Changes, Reloading, Settings
from gateway.config.schema import Config
from gateway.db.pool import Database
from gateway.db.programs import installed
from gateway.errors import ConfigError
from gateway.identity.caller import flaw_of_user_id
from gateway.identity.local import LocalMode
from gateway.identity.safety import refuse_unsafe
from gateway.identity.sign_ins import address_of as sign_in_address
from gateway.identity.tokens import Tokens
from gateway.oauth.configured import configured as configured_providers
from gateway.projects.addresses import address_policy, leads_here
from gateway.proxy.policy import AddressPolicy
from gateway.proxy.upstream import Upstream
from gateway.server.listening import allow_descriptors
from gateway.server.run import bind_shared, reload_on_hangup, serving, stop_on_signals
from gateway.server.supervisor import supervising
from gateway.telemetry import logging as logs


async def serve(
    config: Config,
    container: str | None,
    owner: str | None,
    say: Say,
    *,
    read: Callable[[], Config],
    same_database: str,
) -> None:
    """Run the gateway; ``container`` is registered as a project of ``owner``.

    ``read`` loads the configuration again on SIGHUP. ``same_database``: options with which other commands use this
    database.
    """
    began = time.monotonic()
    stopped = stop_on_signals()
    reload_wanted = reload_on_hangup()
    allow_descriptors()
    _check_owner(config, container, owner)
    await _refuse_agents_as_users(config, container)
    makes_token = wants_own_token(config)

    def completed(config: Config) -> Config:
        refuse_unsafe(config)
        config = with_tokens(config)
        address_policy(config.containers)
        configured_providers(config.providers, config.oauth)
        return config if container is None else _allowing(config, _address_of(container))

    config = at_start = completed(config)
    if not config.database.url:
        installed()
        refuse_second(data_dir(config))
    async with AsyncExitStack() as stack:
        where = (config.server.host, config.server.port)
        sockets = [
            stack.enter_context(sock)
            for sock in bind_shared(*where, config.server.workers, purpose="The gateway", option="--port")
        ]
        config, postgres = await stack.enter_async_context(open_database(config, say))
        if stopped.is_set():
            return
        await settle(config, postgres, say, container, owner)
        console = f"{base_of(config.server)}/console"
        if makes_token:
            stack.enter_context(announced(data_dir(config), address_of(sockets[0])))
            console = sign_in_address(base_of(config.server), await have_own_token(config, data_dir(config)))
        served = await stack.enter_async_context(_serving(config, sockets, stopped, say))
        reloading = Reloading(at_start, lambda: completed(read()), served.change)
        if container is not None:
            say(f"project       {url_of(config.server)}/api/projects/{SIDECAR_PROJECT} (container {container})")
        if LocalMode.name in config.identity.modes:
            say_open(say, config.identity.modes)
        else:
            say(f"identity      {', '.join(config.identity.modes)}")
        say(f"gateway       {url_of(config.server)}")
        if makes_token:
            say(f"token         {data_dir(config) / TOKEN_FILE} ({_how_commands_find_it(config)})")
            say(f"sign-in link  valid once, for 15 minutes; another: acp-gateway token link{same_database}")
        elif Tokens.name in config.identity.modes and not await _has_tokens(config):
            say(f"no token yet  acp-gateway token create --user NAME{same_database}")
        say_ready(say, base_of(config.server), console, began)

        def look() -> None:
            served.check()
            if reload_wanted.is_set():
                reload_wanted.clear()
                reloading.reload()

        await until(stopped, postgres, look)
        say("stopping")
    say("stopped")


async def _has_tokens(config: Config) -> bool:
    async with await Database.open(config.database.url, size=1) as database:
        return any(token.flaw() is None for token in await Tokens(database).list_all())


@attrs.frozen(kw_only=True)
class _Served:
    """A running gateway: ``check`` raises if it cannot go on, ``change`` applies settings."""

    check: Callable[[], None]
    change: Callable[[Changes], None]


@asynccontextmanager
async def _serving(
    config: Config, sockets: Sequence[socket], stopped: asyncio.Event, say: Say
) -> AsyncIterator[_Served]:
    """The gateway on these sockets: in this process, or with several sockets in as many workers."""
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


def _how_commands_find_it(config: Config) -> str:
    directory = data_dir(config)
    with suppress(RuntimeError):
        if directory == usual_data_dir(environment()):
            return "commands find it there"
    return f"for commands: export ACP_GATEWAY_TOKEN_FILE={shlex.quote(str(directory / TOKEN_FILE))}"


def _check_owner(config: Config, container: str | None, owner: str | None) -> None:
    if owner is not None:
        flaw = "it goes with --container" if container is None else flaw_of_user_id(owner)
        if flaw is not None:
            raise ConfigError(f"--owner {owner!r}: {flaw}")
    elif container is not None and config.identity.modes and LocalMode.name not in config.identity.modes:
        raise ConfigError(
            "--container registers a project, which needs an owner because identity.modes does not contain local: set "
            "--owner"
        )


async def _refuse_agents_as_users(config: Config, container: str | None) -> None:
    if container is None or LocalMode.name not in config.identity.modes:
        return
    if await leads_here(_address_of(container).host):
        raise ConfigError(
            "identity.modes contains local, and --container is on this machine: its agents would be the gateway's one "
            "user, too, and could answer their own permission requests. Leave identity.modes out, so that serve "
            "creates a token, or set it to tokens, jwt or proxy"
        )


def _address_of(container: str) -> Upstream:
    try:
        return Upstream.parse(container)
    except ValueError as exc:
        raise ConfigError(f"--container: {exc}") from exc  # without the address, which may contain a password


def _allowing(config: Config, container: Upstream) -> Config:
    """The configuration with the operator's container added to the allowed addresses."""
    try:
        AddressPolicy.parse([container.host]).check_literal(container.host)
    except ValueError as exc:
        raise ConfigError(f"--container {container}: {exc}") from exc
    allow = (*config.containers.allow, container.host)
    return attrs.evolve(config, containers=attrs.evolve(config.containers, allow=allow))
