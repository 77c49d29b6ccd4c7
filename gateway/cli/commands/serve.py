"""``acp-gateway serve``."""

import argparse
import shlex
from collections.abc import Coroutine
from typing import Any

from gateway.cli.commands.options import command, configured, data_dir
from gateway.cli.say import say
from gateway.config.schema import Config

DESCRIPTION = """\
The gateway alone, in front of containers that run elsewhere. With --container it registers that one as the project
"default" (sidecar); projects can be registered at any time with POST /api/projects. Unless identity.modes say otherwise
it listens on this machine only and has one user, "local", for whom it makes an API token in its data directory
(local.token, mode 0600): commands find it there, and a link that is printed signs a browser in. With others it may
listen anywhere."""


def add(commands: Any) -> None:
    serve = command(commands, "serve", "the gateway alone", DESCRIPTION, _serve)
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
    """The options that lead another command to the database of this one."""
    given = (("--config", options.config), ("--data-dir", options.data_dir))
    return "".join(f" {option} {shlex.quote(str(value))}" for option, value in given if value is not None)
