"""``acp-gateway token …``."""

from typing import Any

from gateway.cli.commands.options import as_json, calling, command, data_dir, group_of
from gateway.identity.roles import ROLE_WORDS

MODULE = "gateway.cli.token"

DESCRIPTION = """\
API tokens, for a gateway whose identity.modes name "tokens", or nothing. These commands work on the database that the
configuration names, or on the embedded one, also while a gateway runs on it, which knows of it within a second."""

CREATE = """\
Make an API token for a user and print it, this once: only a digest of it is kept. --role and --project limit what it
allows; what its user may do in a project is for the project's members to say (by default all of that)."""

LINK = """\
Make a link that signs a browser in to the console, and print it. It is good once, within 15 minutes. What the browser
is given opens in that browser alone; "token list" shows it, "token revoke" ends it."""


def add(commands: Any) -> None:
    tokens = group_of(commands, "token", "API tokens: create, list, revoke; sign-in links", DESCRIPTION)
    create = command(tokens, "create", "make one and show it, this once", CREATE, calling(MODULE, "create_token"))
    create.add_argument("--user", dest="user_id", required=True, metavar="USER", help="whose it is")
    create.add_argument("--name", metavar="NAME", help="what it is for, to be recognised by")
    create.add_argument(
        "--role", choices=ROLE_WORDS, default="admin", help="the most that it allows in a project (default admin)"
    )
    create.add_argument(
        "--project",
        dest="projects",
        action="append",
        default=[],
        metavar="ID",
        help="allow this project alone; may be repeated",
    )
    create.add_argument(
        "--expires", default="90d", metavar="TIME", help="after 90m, 12h, 30d, 4w, 1y, or never (default 90d)"
    )
    listed = command(
        tokens, "list", "show what tokens there are", "Show tokens, revoked ones too.", calling(MODULE, "list_tokens")
    )
    listed.add_argument("--user", dest="user_id", metavar="USER", help="of this user alone")
    revoke = command(
        tokens, "revoke", "end one", "Have a token open nothing any more.", calling(MODULE, "revoke_token")
    )
    revoke.add_argument("token_id", metavar="ID", help="its id, as list shows it")
    link = command(tokens, "link", "make a link that signs a browser in, once", LINK, calling(MODULE, "make_link"))
    link.add_argument("--user", dest="user_id", default="local", metavar="USER", help="as whom (default: local)")
    link.add_argument(
        "--url", metavar="URL", help="where the browser finds the gateway (default: where the one that runs listens)"
    )
    for parser in (create, listed, revoke, link):
        as_json(parser)
        data_dir(parser)
