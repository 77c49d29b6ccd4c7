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

#: Whether the gateway is installed here, or the agent host alone (deploy/agent-host).
HAS_GATEWAY: Final = find_spec("gateway.app") is not None
#: In the order of ``--help``.
COMMANDS: Final = (
    *(up, serve, agent_host, migrate, token),
    *(project, agent, session, prompt, events, permission, auth, key),
)

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


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command. Exit status: 0 done, 1 it could not be done (one sentence on standard error), 2 wrong usage."""
    _mend_standard_streams()
    options = _parser().parse_args(arguments)
    try:
        if "person" in options:
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
    """What people do with a gateway that runs; it takes no configuration of a gateway's own."""
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
    for module in COMMANDS if HAS_GATEWAY else (agent_host,):
        module.add(commands)
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
    # The rooms behind the commands take a moment to import; --help and a wrong option need none of them.
    from gateway.server import run as serving

    serving.run(work)


def _mend_standard_streams() -> None:
    """Closed ones lead nowhere from now on: a socket would get their number otherwise, and be printed into."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))
    for stream in (sys.stdout, sys.stderr):
        # A path may hold what the terminal's encoding does not.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
