"""The command line, ``acp-gateway …``; its commands are in ``cli.commands``."""

import argparse
import gc
import logging
import os
import sys
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from io import TextIOWrapper
from typing import Any, Final

from gateway import __version__
from gateway.cli.commands import (
    agent,
    agent_host,
    auth,
    events,
    key,
    migrate,
    permission,
    project,
    prompt,
    serve,
    session,
    token,
    up,
)
from gateway.cli.commands.options import Run, configured
from gateway.cli.parser import COMMAND, Parser
from gateway.config.load import environment, unknown_variables
from gateway.errors import GatewayError, UsageError
from gateway.telemetry import logging as logs

logger = logging.getLogger(__name__)

#: False if only the agent host is installed (deploy/agent-host).
HAS_GATEWAY: Final = find_spec("gateway.app") is not None
#: In the order of ``--help``.
COMMANDS: Final = (
    *(up, serve, agent_host, migrate, token),
    *(project, agent, session, prompt, events, permission, auth, key),
)

DESCRIPTION = """\
One HTTP server in front of the containers where coding agents run.

  acp-gateway up                                        everything on this machine, with a demo agent
  acp-gateway serve --container http://127.0.0.1:4096   beside one container (sidecar)
  acp-gateway serve --config config.toml                in front of many, with your own PostgreSQL
  acp-gateway agent-host                                inside a container: runs agents on port 4097
  acp-gateway migrate                                   migrate the database's schema, and exit
  acp-gateway token create --user alice                 create an API token, for identity.modes = ["tokens"]
  acp-gateway project register URL --owner alice        register a container as alice's project
  acp-gateway key list                                  list the keys that seal stored secrets

With a running gateway (--url or ACP_GATEWAY_URL; and ACP_GATEWAY_TOKEN, unless commands find its token themselves):

  acp-gateway prompt demo "fix the tests"               send a prompt, show the turn, answer permission requests
  acp-gateway project|agent|session|events|permission|auth …

All settings are in config.example.toml. ACP_GATEWAY_<TABLE>_<SETTING> variables override the file, for example
ACP_GATEWAY_DATABASE_URL=postgresql://user:password@host/name for your own PostgreSQL; options override both.
Ctrl-C or SIGTERM stops the program. "acp-gateway COMMAND --help" shows a command's options."""

DESCRIPTION_OF_HOST = """\
Only the agent host is installed, for a project's container: "acp-gateway agent-host" runs agents on port 4097, and
"acp-gateway agent check" tries them. The gateway and its other commands are in the distribution acp-session-gateway.

Settings are variables such as ACP_GATEWAY_AGENT_HOST_PORT, or a TOML file with a table [agent_host]."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command. Exit status: 0 success, 1 failure (with a sentence on standard error), 2 wrong usage."""
    _mend_standard_streams()
    options = _parser().parse_args(arguments)
    try:
        if "without_project" in options and options.project is None:
            options.run = options.without_project
        elif "person" in options:
            sys.exit(_ask_running_gateway(options))
        config = configured(options)
        logs.configure(config.logging)
        for message, fields in unknown_variables():
            logger.warning(message, extra=fields)
        run_command: Run = options.run
        with _importing():
            work = run_command(options, config)
        _run(work)
    except GatewayError as exc:
        print(f"acp-gateway: {exc}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def _ask_running_gateway(options: argparse.Namespace) -> int:
    """Commands that call a running gateway need no gateway configuration."""
    import asyncio

    with _importing():
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
    for add in [module.add for module in COMMANDS] if HAS_GATEWAY else (agent_host.add, agent.add_to_host):
        add(commands)
    return parser


@contextmanager
def _importing() -> Iterator[None]:
    """Without the garbage collector: it would walk the modules again and again, which stay."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _run(work: Coroutine[Any, Any, None]) -> None:
    # Imported late, because --help does not need it.
    from gateway.server import run as serving

    serving.run(work)


def _mend_standard_streams() -> None:
    """Open closed ones to /dev/null: otherwise a socket would get their number, and output would be sent to it."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))
    for stream in (sys.stdout, sys.stderr):
        # Paths may contain characters that the terminal's encoding lacks.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
