"""``acp-gateway agent …``: a project's agents by a running gateway, and those of this machine."""

from argparse import Namespace
from collections.abc import Coroutine
from importlib import import_module
from pathlib import Path
from typing import Any

from gateway.cli.commands.options import as_json, asking, calling, command, group_of
from gateway.cli.say import say
from gateway.config.schema import Config

MODULE = "gateway.cli.agents"

LIST = """\
List a project's agents, as a running gateway has them. Without a project: the agents that could run on this machine,
and whether their programs are found."""

CHECK = """\
Start and initialise the agents that are installed on this machine, one after the other, without an account. The table
says what each can. With names, only these; the exit status is then 1 if one of them does not work."""

ADD = """\
Write an agent of the ACP registry into the catalogue file of the agent host. The entry is read from a file in the
registry's format, the whole registry or one entry, or from the address in agent_host.registry. What would run is shown,
and written only if you agree."""


def add(commands: Any) -> None:
    group = group_of(commands, "agent", "agents of a project, and of this machine")
    listed = asking(group, "list", "list_agents", "list a project's agents, or this machine's", LIST)
    listed.add_argument("project", nargs="?")
    listed.add_argument("--config", type=Path, metavar="FILE", help="a TOML file; see config.example.toml")
    _catalogue(listed)
    listed.set_defaults(without_project=_list_here, listens_by="agent_host")
    for name, action, summary in (
        ("spawn", "spawn_agent", "start an agent's process"),
        ("stop", "stop_agent", "stop it; its running turns fail"),
        ("status", "agent_status", "show its status in the container"),
    ):
        asked = asking(group, name, action, summary)
        asked.add_argument("project")
        asked.add_argument("agent")
    add_local(group)


def add_to_host(commands: Any) -> None:
    """The commands that need no gateway."""
    add_local(group_of(commands, "agent", "the agents of this machine"))


def add_local(group: Any) -> None:
    checked = command(
        group, "check", "try the agents of this machine", CHECK, calling(MODULE, "check"), listens_by="agent_host"
    )
    checked.add_argument("agents", nargs="*", metavar="AGENT")
    added = command(
        group, "add", "add an agent of the ACP registry", ADD, calling(MODULE, "add"), listens_by="agent_host"
    )
    added.add_argument("agent", metavar="REGISTRY-ID")
    added.add_argument("--file", type=Path, metavar="FILE", help="a file in the registry's format")
    added.add_argument("--yes", action="store_true", help="write it without asking")
    for parser in (checked, added):
        _catalogue(parser)
    as_json(checked)


def _list_here(options: Namespace, config: Config) -> Coroutine[Any, Any, None]:
    work: Coroutine[Any, Any, None] = import_module(MODULE).list_here(config, say, as_json=options.json)
    return work


def _catalogue(parser: Any) -> None:
    parser.add_argument("--catalogue", metavar="FILE", help="the agent host's catalogue file")
