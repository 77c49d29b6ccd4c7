"""What commands and their options have in common.

The modules of this folder import nothing slow, which ``--help`` does not need.
"""

import argparse
from collections.abc import Callable, Coroutine
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import attrs

from gateway.cli.parser import COMMAND
from gateway.cli.say import say
from gateway.config.load import load
from gateway.config.schema import Config
from gateway.errors import ConfigError

Run = Callable[[argparse.Namespace, Config], Coroutine[Any, Any, None]]

#: Options that override settings: option, table (None: the one that the command listens by), setting.
_SETTINGS: Final = (
    ("host", None, "host"),
    ("port", None, "port"),
    ("workers", "server", "workers"),
    ("data_dir", "embedded", "data_dir"),
    ("workspace", "agent_host", "workspace"),
    ("catalogue", "agent_host", "catalogue"),
)
#: Not passed to a command's function, because they are in its configuration.
NOT_GIVEN: Final = {"config", "run", "listens_by", *(option for option, _, _ in _SETTINGS)}


def command(
    commands: Any, name: str, summary: str, description: str, run: Run, *, listens_by: str = "server"
) -> argparse.ArgumentParser:
    """A command with a configuration. ``listens_by``: the table of ``--host`` and ``--port``."""
    parser: argparse.ArgumentParser = commands.add_parser(name, help=summary, description=description)
    parser.add_argument("--config", type=Path, metavar="FILE", help="a TOML file; see config.example.toml")
    parser.set_defaults(run=run, listens_by=listens_by)
    return parser


def calling(module: str, function: str) -> Run:
    """Import the function when the command runs, and call it with the configuration, ``say`` and the options."""
    return partial(_call, module, function)


def _call(module: str, function: str, options: argparse.Namespace, config: Config) -> Coroutine[Any, Any, None]:
    given = {name: value for name, value in vars(options).items() if name not in NOT_GIVEN}
    work: Coroutine[Any, Any, None] = getattr(import_module(module), function)(config, say, **given)
    return work


def configured(options: argparse.Namespace) -> Config:
    """The configuration with the command line's overrides."""
    config = load(options.config)
    for option, table, setting in _SETTINGS:
        value = getattr(options, option, None)
        if value is not None:
            config = _set(config, table or options.listens_by, setting, value, option)
    return config


def data_dir(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data-dir",
        type=_named,
        metavar="DIR",
        help="the data directory of the embedded PostgreSQL, unless database.url is set "
        "(default ~/.local/share/acp-gateway, for root /var/lib/acp-gateway)",
    )


def workspace(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--workspace", type=_named, metavar="DIR", help="the directory that agents work in (default ./workspace)"
    )


def as_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", dest="as_json", action="store_true", help="print JSON")


def group_of(commands: Any, name: str, summary: str, description: str | None = None) -> Any:
    group = commands.add_parser(name, help=summary, description=description or sentence(summary))
    return group.add_subparsers(required=True, metavar=COMMAND, title="commands")


def asking(commands: Any, name: str, action: str, summary: str, text: str | None = None) -> argparse.ArgumentParser:
    """A command that calls a running gateway by the function ``action`` of ``cli.terminal.actions``."""
    parser: argparse.ArgumentParser = commands.add_parser(name, help=summary, description=text or sentence(summary))
    parser.add_argument("--url", help="the gateway's address (default $ACP_GATEWAY_URL, else http://127.0.0.1:8080)")
    parser.add_argument(
        "--token-file",
        metavar="FILE",
        help="a file with an API token (default $ACP_GATEWAY_TOKEN itself, or the file $ACP_GATEWAY_TOKEN_FILE)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON, for scripts")
    parser.set_defaults(person=action)
    return parser


def sentence(summary: str) -> str:
    return f"{summary[0].upper()}{summary[1:]}."


def _named(directory: str) -> str:
    # An unset variable of a shell script must not mean the default directory.
    if not directory:
        raise argparse.ArgumentTypeError("must not be empty")
    return directory


def _set(config: Config, table: str, setting: str, value: Any, option: str) -> Config:
    try:
        return attrs.evolve(config, **{table: attrs.evolve(getattr(config, table), **{setting: value})})
    except ValueError as exc:
        raise ConfigError(f"--{option.replace('_', '-')}: {exc}") from exc
