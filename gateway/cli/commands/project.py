"""``acp-gateway project …``: of a gateway that runs, or in its database."""

from typing import Any

from gateway.cli.commands.options import as_json, asking, calling, command, data_dir, group_of

MODULE = "gateway.cli.project"

REGISTER = """\
Register a container as a project of a user's. This works on the database that the configuration names, or on the
embedded one, also while a gateway runs on it, and whoever identity.project_creators names. What it refuses is what
containers.allow does not allow, and another owner's container."""

MOVE = """\
Have a project be at another container, in the database as "project register" does. Its secret (containerToken) is
forgotten, and the former container is told to give back what it was given of users' credentials, for up to two minutes
where it does not answer."""


def add(commands: Any) -> None:
    group = group_of(commands, "project", "projects: of a running gateway, or in its database")
    asking(group, "list", "list_projects", "show your projects")
    asking(group, "get", "get_project", "show one").add_argument("project")
    create = asking(group, "create", "create_project", "register a container as a project")
    create.add_argument("container", metavar="CONTAINER_URL", help="for example http://127.0.0.1:4096")
    create.add_argument("--id", help="1 to 64 of a-z, 0-9 and - (default: a made one)")
    create.add_argument("--name", help="for people")
    create.add_argument("--agent", help="the default agent of its sessions")
    create.add_argument(
        "--record-opencode-events", action="store_true", help="have OpenCode's own events recorded, so that they resume"
    )
    asking(group, "delete", "delete_project", "remove one with all that is stored of it").add_argument("project")
    register = command(
        group, "register", "register a container, in the gateway's database", REGISTER, calling(MODULE, "register")
    )
    register.add_argument("address", metavar="CONTAINER_URL", help="for example http://10.0.0.5:4096")
    register.add_argument("--owner", required=True, metavar="USER", help="whose it is")
    register.add_argument(
        "--id", dest="project_id", metavar="ID", help="1 to 64 of a-z, 0-9 and - (default: a made one)"
    )
    register.add_argument("--name", metavar="NAME", help="for people")
    register.add_argument("--agent", dest="agent_id", metavar="ID", help="the default agent of its sessions")
    move = command(group, "move", "have a project be at another container", MOVE, calling(MODULE, "move"))
    move.add_argument("project_id", metavar="PROJECT")
    move.add_argument("address", metavar="CONTAINER_URL", help="for example http://10.0.0.6:4096")
    for parser in (register, move):
        parser.add_argument(
            "--acp-url", dest="acp_address", metavar="URL", help="where it speaks ACP (default: the next port)"
        )
        as_json(parser)
        data_dir(parser)
