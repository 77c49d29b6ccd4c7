"""The command line: ``acp-gateway up | serve | agent-host | migrate | token | key``."""

import argparse
import logging
import os
import shlex
import sys
from collections.abc import Callable, Coroutine, Sequence
from importlib.util import find_spec
from io import TextIOWrapper
from pathlib import Path
from typing import Any, Final

import attrs

from gateway import __version__
from gateway.cli.parser import COMMAND, Parser
from gateway.config.load import environment, load, unknown_variables
from gateway.config.schema import Config
from gateway.errors import ConfigError, GatewayError, UsageError
from gateway.identity.roles import ROLE_WORDS
from gateway.telemetry import logging as logs

logger = logging.getLogger(__name__)

#: Whether the gateway is installed here, or the agent host alone (deploy/agent-host).
HAS_GATEWAY: Final = find_spec("gateway.app") is not None

DESCRIPTION = """\
One HTTP server in front of the containers where coding agents run.

  acp-gateway up                                        everything on this machine, with a demo agent to talk to
  acp-gateway serve --container http://127.0.0.1:4096   beside one container (sidecar)
  acp-gateway serve --config config.toml                in front of many, with a PostgreSQL of your own
  acp-gateway agent-host                                inside a container: runs agents on port 4097
  acp-gateway migrate                                   bring the database's schema up to date, and stop
  acp-gateway token create --user alice                 an API token, for identity.modes = ["tokens"]
  acp-gateway project register URL --owner alice        a container as alice's project, whoever else may register any
  acp-gateway key list                                  the keys that stored secrets are sealed with

With a gateway that runs (--url or ACP_GATEWAY_URL; ACP_GATEWAY_TOKEN where it wants one that is not found by itself):

  acp-gateway prompt demo "fix the tests"               the turn as it runs; permissions are asked for here
  acp-gateway project|agent|session|events|permission|auth …

Every setting stands in config.example.toml. ACP_GATEWAY_<TABLE>_<SETTING> variables override the file, for example
ACP_GATEWAY_DATABASE_URL=postgresql://user:password@host/name for a PostgreSQL of your own; options override both.
Ctrl-C or SIGTERM stops whatever runs. "acp-gateway COMMAND --help" tells of a command's options."""

DESCRIPTION_OF_HOST = """\
The agent host alone, for a project's container: "acp-gateway agent-host" runs agents on port 4097. The gateway and its
other commands are in the distribution acp-session-gateway.

Settings are variables such as ACP_GATEWAY_AGENT_HOST_PORT, or a TOML file with a table [agent_host]."""

UP = """\
Everything on this machine: an embedded PostgreSQL, an agent host that stands in for a container, the gateway, and the
project "demo". It prints lines to try. What is stored is kept: start it again and it is there."""

SERVE = """\
The gateway alone, in front of containers that run elsewhere. With --container it registers that one as the project
"default" (sidecar); projects can be registered at any time with POST /api/projects. Unless identity.modes say otherwise
it listens on this machine only and has one user, "local", for whom it makes an API token in its data directory
(local.token, mode 0600): commands find it there, and a link that is printed signs a browser in. With others it may
listen anywhere."""

AGENT_HOST = """\
Runs agents inside a container and speaks the container's contract on port 4097. With ACP_HOST_TOKEN set, every call
needs that secret; to listen on other addresses than this machine's it must be set. The gateway's containers.token is
the same secret."""

MIGRATE = """\
Bring the database's schema up to date, and stop. "up" and "serve" do this by themselves at every start; it is safe
while others do the same.

After you have restored the database from a backup, run it with --restored before you start any gateway: clients may
have seen events that the backup has not, and are then told to begin anew. Without it they would miss what comes under
the same numbers."""

TOKEN = """\
API tokens, for a gateway whose identity.modes name "tokens", or nothing. These commands work on the database that the
configuration names, or on the embedded one, also while a gateway runs on it, which knows of it within a second."""

TOKEN_LINK = """\
Make a link that signs a browser in to the console, and print it. It is good once, within 15 minutes. What the browser
is given opens in that browser alone; "token list" shows it, "token revoke" ends it."""

TOKEN_CREATE = """\
Make an API token for a user and print it, this once: only a digest of it is kept. --role and --project limit what it
allows; what its user may do in a project is for the project's members to say (by default all of that)."""

KEY = """\
The keys that users' tokens and containers' secrets are sealed with: a ring in the file that vault.key_file names, or
beside the embedded PostgreSQL. To change the key: "key new", give the file to every gateway on this database, then
"key rotate", which is safe to run again after it was interrupted. Gateways go on meanwhile. No command shows a key."""

KEY_NEW = """\
Add a key to the file, or make the file with a first one (mode 0600). A further key seals nothing until "key rotate"."""

KEY_ROTATE = """\
Make the newest key the current one, or ID, and seal everything again that another key seals, while gateways run. They
read the file again by themselves. Run it again if it was interrupted. Keep former keys as long as a backup may need
them."""

KEY_FORGET = """\
Delete what a lost key has sealed: the tokens and secrets that nobody can read any more, and that gateways refuse to
start with. Their users connect their accounts again."""

PROJECT_REGISTER = """\
Register a container as a project of a user's. This works on the database that the configuration names, or on the
embedded one, also while a gateway runs on it, and whoever identity.project_creators names. What it refuses is what
containers.allow does not allow, and another owner's container."""

PROJECT_MOVE = """\
Have a project be at another container, in the database as "project register" does. Its secret (containerToken) is
forgotten, and the former container is told to give back what it was given of users' credentials, for up to two minutes
where it does not answer."""

Run = Callable[[argparse.Namespace, Config], Coroutine[Any, Any, None]]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command. Exit status: 0 done, 1 it could not be done (one sentence on standard error), 2 wrong usage."""
    _mend_standard_streams()
    options = _parser().parse_args(arguments)
    try:
        if "person" in options:
            sys.exit(_ask_running_gateway(options))
        config = _configured(options)
        logs.configure(config.logging)
        for message, fields in unknown_variables():
            logger.warning(message, extra=fields)
        run_command: Run = options.run
        _run(run_command(options, config))
    except GatewayError as exc:
        print(f"acp-gateway: {exc}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def _ask_running_gateway(options: argparse.Namespace) -> int:
    """What people do with a gateway that runs; it takes no configuration of a gateway's own."""
    import asyncio

    from acp_session_gateway_client import ClientError

    from gateway.cli.terminal import actions

    try:
        return asyncio.run(actions.run(options, environment()))
    except (UsageError, ClientError) as exc:
        print(f"acp-gateway: {exc}", file=sys.stderr)
        return 2 if isinstance(exc, UsageError) else 1


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="acp-gateway", description=DESCRIPTION if HAS_GATEWAY else DESCRIPTION_OF_HOST)
    parser.add_argument("--version", action="version", version=f"acp-gateway {__version__}")
    commands = parser.add_subparsers(required=True, metavar=COMMAND, title="commands")
    if HAS_GATEWAY:
        _gateway_commands(commands)
    else:
        _host_command(commands)
    return parser


def _gateway_commands(commands: Any) -> None:
    from gateway.cli.terminal import parser as parser_of_people

    up = _command(commands, "up", "everything on this machine, with a demo agent to talk to", UP, _up)
    up.add_argument("--port", type=int, help="the gateway's port (default 8080)")
    up.add_argument(
        "--container-port",
        type=int,
        default=4096,
        metavar="PORT",
        help="the port that stands for a container's 4096; the agent host takes the next one (default 4096)",
    )
    _data_dir(up)
    _workspace(up)

    serve = _command(commands, "serve", "the gateway alone", SERVE, _serve)
    serve.add_argument("--host", help="the address to listen on (default 127.0.0.1; others need identity.modes)")
    serve.add_argument("--port", type=int, help="the port to listen on (default 8080)")
    serve.add_argument(
        "--container", metavar="URL", help="sidecar: register the one container at URL as the project 'default'"
    )
    serve.add_argument(
        "--owner", metavar="USER", help="whose the project of --container is (default: the local user, if there is one)"
    )
    serve.add_argument(
        "--workers", type=int, metavar="N", help="how many processes share the port (default 1); more use more cores"
    )
    _data_dir(serve)

    _host_command(commands)
    migrate = _command(commands, "migrate", "bring the database's schema up to date, and stop", MIGRATE, _migrate)
    _data_dir(migrate)
    migrate.add_argument("--restored", action="store_true", help="the database was restored from a backup")
    _token_commands(commands)
    _project_commands(parser_of_people.add_commands(commands))
    _key_commands(commands)


def _host_command(commands: Any) -> None:
    host = _command(commands, "agent-host", "runs agents inside a container, on port 4097", AGENT_HOST, _agent_host)
    host.add_argument("--host", help="the address to listen on (default 127.0.0.1; others need ACP_HOST_TOKEN)")
    host.add_argument("--port", type=int, help="the port to listen on (default 4097)")
    host.add_argument("--catalogue", metavar="FILE", help="a TOML file with further agents")
    _workspace(host)


def _token_commands(commands: Any) -> None:
    group = commands.add_parser("token", help="API tokens: create, list, revoke; sign-in links", description=TOKEN)
    tokens = group.add_subparsers(required=True, metavar=COMMAND, title="commands")
    create = _command(tokens, "create", "make one and show it, this once", TOKEN_CREATE, _create_token)
    create.add_argument("--user", required=True, metavar="USER", help="whose it is")
    create.add_argument("--name", metavar="NAME", help="what it is for, to be recognised by")
    create.add_argument(
        "--role", choices=ROLE_WORDS, default="admin", help="the most that it allows in a project (default admin)"
    )
    create.add_argument(
        "--project", action="append", default=[], metavar="ID", help="allow this project alone; may be repeated"
    )
    create.add_argument(
        "--expires", default="90d", metavar="TIME", help="after 90m, 12h, 30d, 4w, 1y, or never (default 90d)"
    )
    listed = _command(tokens, "list", "show what tokens there are", "Show tokens, revoked ones too.", _list_tokens)
    listed.add_argument("--user", metavar="USER", help="of this user alone")
    revoke = _command(tokens, "revoke", "end one", "Have a token open nothing any more.", _revoke_token)
    revoke.add_argument("id", metavar="ID", help="its id, as list shows it")
    link = _command(tokens, "link", "make a link that signs a browser in, once", TOKEN_LINK, _make_link)
    link.add_argument("--user", default="local", metavar="USER", help="as whom (default: local)")
    link.add_argument(
        "--url", metavar="URL", help="where the browser finds the gateway (default: where the one that runs listens)"
    )
    for command in (create, listed, revoke, link):
        command.add_argument("--json", action="store_true", help="print JSON")
        _data_dir(command)


def _project_commands(projects: Any) -> None:
    register = _command(
        projects, "register", "register a container, in the gateway's database", PROJECT_REGISTER, _register_project
    )
    register.add_argument("container", metavar="CONTAINER_URL", help="for example http://10.0.0.5:4096")
    register.add_argument("--owner", required=True, metavar="USER", help="whose it is")
    register.add_argument("--id", metavar="ID", help="1 to 64 of a-z, 0-9 and - (default: a made one)")
    register.add_argument("--name", metavar="NAME", help="for people")
    register.add_argument("--agent", metavar="ID", help="the default agent of its sessions")
    move = _command(projects, "move", "have a project be at another container", PROJECT_MOVE, _move_project)
    move.add_argument("project", metavar="PROJECT")
    move.add_argument("container", metavar="CONTAINER_URL", help="for example http://10.0.0.6:4096")
    for command in (register, move):
        command.add_argument("--acp-url", metavar="URL", help="where it speaks ACP (default: the next port)")
        command.add_argument("--json", action="store_true", help="print JSON")
        _data_dir(command)


def _key_commands(commands: Any) -> None:
    group = commands.add_parser("key", help="the vault's keys: new, rotate, list, forget", description=KEY)
    keys = group.add_subparsers(required=True, metavar=COMMAND, title="commands")
    new = _command(keys, "new", "add a key to the file, or make the file", KEY_NEW, _new_key)
    rotate = _command(keys, "rotate", "seal everything with the newest key", KEY_ROTATE, _rotate_keys)
    rotate.add_argument("id", nargs="?", metavar="ID", help="the key to seal with (default: the newest)")
    listed = _command(keys, "list", "show which keys there are and what they seal", KEY, _list_keys)
    listed.add_argument("--json", action="store_true", help="print JSON")
    forget = _command(keys, "forget", "delete what a lost key has sealed", KEY_FORGET, _forget_key)
    forget.add_argument("id", metavar="ID", help="the lost key's id")
    for command in (new, rotate, listed, forget):
        _data_dir(command)


def _command(commands: Any, name: str, summary: str, description: str, run: Run) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=summary, description=description)
    parser.add_argument("--config", type=Path, metavar="FILE", help="a TOML file; see config.example.toml")
    parser.set_defaults(run=run)
    return parser


def _data_dir(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data-dir",
        type=_named,
        metavar="DIR",
        help="where the embedded PostgreSQL keeps its data, unless database.url names another "
        "(default ~/.local/share/acp-gateway, for root /var/lib/acp-gateway)",
    )


def _workspace(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--workspace", type=_named, metavar="DIR", help="the directory that agents work in (default ./workspace)"
    )


def _named(directory: str) -> str:
    # What a shell makes of an unset variable must not mean the default directory.
    if not directory:
        raise argparse.ArgumentTypeError("must not be empty")
    return directory


def _configured(options: argparse.Namespace) -> Config:
    """The configuration with what the command line overrides."""
    config = load(options.config)
    given = {name: value for name, value in vars(options).items() if value is not None}
    own_address = "agent_host" if options.run is _agent_host else "server"
    for option, table, setting in (
        ("host", own_address, "host"),
        ("port", own_address, "port"),
        ("workers", "server", "workers"),
        ("data_dir", "embedded", "data_dir"),
        ("workspace", "agent_host", "workspace"),
        ("catalogue", "agent_host", "catalogue"),
    ):
        if option in given:
            config = _set(config, table, setting, given[option], option)
    return config


def _set(config: Config, table: str, setting: str, value: Any, option: str) -> Config:
    try:
        return attrs.evolve(config, **{table: attrs.evolve(getattr(config, table), **{setting: value})})
    except ValueError as exc:
        raise ConfigError(f"--{option.replace('_', '-')}: {exc}") from exc


# The rooms behind the commands take a moment to import; --help and a wrong option need none of them.


def _run(work: Coroutine[Any, Any, None]) -> None:
    from gateway.server import run as serving

    serving.run(work)


async def _up(options: argparse.Namespace, config: Config) -> None:
    from gateway.cli.up import up

    await up(config, options.container_port, say)


async def _serve(options: argparse.Namespace, config: Config) -> None:
    from gateway.cli.serve import serve

    await serve(
        config,
        options.container,
        options.owner,
        say,
        read=lambda: _configured(options),
        same_database=_same_database(options),
    )


def _same_database(options: argparse.Namespace) -> str:
    """The options that lead another command to the database of this one."""
    given = (("--config", options.config), ("--data-dir", options.data_dir))
    return "".join(f" {option} {shlex.quote(str(value))}" for option, value in given if value is not None)


async def _agent_host(options: argparse.Namespace, config: Config) -> None:
    from gateway.cli.agent_host import agent_host

    await agent_host(config, say)


async def _migrate(options: argparse.Namespace, config: Config) -> None:
    from gateway.cli.database import migrate_database

    await migrate_database(config, options.restored, say)


async def _register_project(options: argparse.Namespace, config: Config) -> None:
    from gateway.cli import project as projects

    await projects.register(
        config,
        say,
        address=options.container,
        acp_address=options.acp_url,
        owner=options.owner,
        project_id=options.id,
        name=options.name,
        agent_id=options.agent,
        as_json=options.json,
    )


async def _move_project(options: argparse.Namespace, config: Config) -> None:
    from gateway.cli import project as projects

    await projects.move(
        config,
        say,
        project_id=options.project,
        address=options.container,
        acp_address=options.acp_url,
        as_json=options.json,
    )


async def _create_token(options: argparse.Namespace, config: Config) -> None:
    from gateway.cli import token as tokens

    await tokens.create_token(
        config,
        say,
        user_id=options.user,
        role=options.role,
        projects=options.project,
        expires=options.expires,
        name=options.name,
        as_json=options.json,
    )


async def _list_tokens(options: argparse.Namespace, config: Config) -> None:
    from gateway.cli import token as tokens

    await tokens.list_tokens(config, say, user_id=options.user, as_json=options.json)


async def _revoke_token(options: argparse.Namespace, config: Config) -> None:
    from gateway.cli import token as tokens

    await tokens.revoke_token(config, say, token_id=options.id, as_json=options.json)


async def _make_link(options: argparse.Namespace, config: Config) -> None:
    from gateway.cli import token as tokens

    await tokens.make_link(config, say, user_id=options.user, url=options.url, as_json=options.json)


async def _new_key(options: argparse.Namespace, config: Config) -> None:
    from gateway.cli import key as rotation

    await rotation.new_key(config, say)


async def _rotate_keys(options: argparse.Namespace, config: Config) -> None:
    from gateway.cli import key as rotation

    await rotation.rotate_keys(config, say, key_id=options.id)


async def _list_keys(options: argparse.Namespace, config: Config) -> None:
    from gateway.cli import key as rotation

    await rotation.list_keys(config, say, as_json=options.json)


async def _forget_key(options: argparse.Namespace, config: Config) -> None:
    from gateway.cli import key as rotation

    await rotation.forget_key(config, say, key_id=options.id)


def say(line: str) -> None:
    """Tell the person at the terminal; that nobody reads it is no reason to stop."""
    try:
        print(line, flush=True)
    except OSError:
        # `| head -1`, a full disk. Python would complain at its end of what it could not write.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _mend_standard_streams() -> None:
    """Closed ones lead nowhere from now on: a socket would get their number otherwise, and be printed into."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))
    for stream in (sys.stdout, sys.stderr):
        # A path may hold what the terminal's encoding does not.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
