"""``acp-gateway serve``."""

import argparse
import shlex
from collections.abc import Coroutine
from typing import Any

from gateway.cli.commands.options import command, configured, data_dir
from gateway.cli.say import say
from gateway.config.schema import Config

DESCRIPTION = """\
The gateway in front of containers that run elsewhere. With --container it registers that one as the project "default"
(sidecar); register others with POST /api/projects. Without identity.modes it listens on this machine only and has one
user, "local". It creates an API token for them in its data directory (local.token, mode 0600), where commands find it,
and prints a link that signs a browser in."""


def add(commands: Any) -> None:
    serve = command(commands, "serve", "the gateway in front of containers", DESCRIPTION, _serve)
    serve.add_argument("--host", help="the address to listen on (default 127.0.0.1; others need identity.modes)")
    serve.add_argument("--port", type=int, help="the port to listen on (default 8080)")
    serve.add_argument(
        "--container", metavar="URL", help="sidecar: register the one container at URL as the project 'default'"
    )
    serve.add_argument(
        "--owner", metavar="USER", help="the owner of --container's project (default: the local user, if there is one)"
    )
    serve.add_argument("--workers", type=int, metavar="N", help="processes that share the port (default 1)")
    data_dir(serve)


def _serve(options: argparse.Namespace, config: Config) -> Coroutine[Any, Any, None]:
    from gateway.cli.serve import serve

    return serve(
        config,
        options.container,
        options.owner,
        say,
        read=lambda: configured(options),
        same_database=_same_database(options),
    )


def _same_database(options: argparse.Namespace) -> str:
    """The options with which other commands use the same database."""
    given = (("--config", options.config), ("--data-dir", options.data_dir))
    return "".join(f" {option} {shlex.quote(str(value))}" for option, value in given if value is not None)
