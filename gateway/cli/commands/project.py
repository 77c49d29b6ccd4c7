"""``acp-gateway project …``: by a running gateway, or in its database."""

from typing import Any

from gateway.cli.commands.options import as_json, asking, calling, command, data_dir, group_of

MODULE = "gateway.cli.project"

REGISTER = """\
Register a container as a user's project, directly in the configured or embedded database, whether or not a gateway is
running, and regardless of identity.project_creators. Addresses outside of containers.allow and another owner's
container are refused."""

MOVE = """\
Move a project to another container, directly in the database as "project register" does. Its containerToken
and opencodePassword are deleted. The former container is told to return users' credentials, for up to two minutes if it
does not answer."""


def add(commands: Any) -> None:
    group = group_of(commands, "project", "projects, by a running gateway or in its database")
    asking(group, "list", "list_projects", "list your projects")
    asking(group, "get", "get_project", "show one").add_argument("project")
    create = asking(group, "create", "create_project", "register a container as a project")
    create.add_argument("container", metavar="CONTAINER_URL", help="for example http://127.0.0.1:4096")
    create.add_argument("--id", help="1 to 64 of a-z, 0-9 and - (default: generated)")
    create.add_argument("--name", help="a display name")
    create.add_argument("--agent", help="the default agent of its sessions")
    create.add_argument(
        "--record-opencode-events", action="store_true", help="record OpenCode's own events, so that its clients resume"
    )
    create.add_argument(
        "--opencode-username", metavar="NAME", help="the name that its OpenCode wants (default: opencode)"
    )
    create.add_argument(
        "--opencode-password-file",
        metavar="FILE",
        help="holds the password that its OpenCode wants; - is standard input",
    )
    asking(group, "delete", "delete_project", "delete one with its sessions and history").add_argument("project")
    register = command(
        group, "register", "register a container, in the gateway's database", REGISTER, calling(MODULE, "register")
    )
    register.add_argument("address", metavar="CONTAINER_URL", help="for example http://10.0.0.5:4096")
    register.add_argument("--owner", required=True, metavar="USER", help="its owner")
    register.add_argument(
        "--id", dest="project_id", metavar="ID", help="1 to 64 of a-z, 0-9 and - (default: generated)"
    )
    register.add_argument("--name", metavar="NAME", help="a display name")
    register.add_argument("--agent", dest="agent_id", metavar="ID", help="the default agent of its sessions")
    move = command(group, "move", "move a project to another container", MOVE, calling(MODULE, "move"))
    move.add_argument("project_id", metavar="PROJECT")
    move.add_argument("address", metavar="CONTAINER_URL", help="for example http://10.0.0.6:4096")
    for parser in (register, move):
        parser.add_argument(
            "--acp-url", dest="acp_address", metavar="URL", help="its ACP address (default: the next port)"
        )
        as_json(parser)
        data_dir(parser)
