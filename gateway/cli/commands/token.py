"""``acp-gateway token …``."""

from typing import Any

from gateway.cli.commands.options import as_json, calling, command, data_dir, group_of
from gateway.identity.roles import ROLE_WORDS

MODULE = "gateway.cli.token"

DESCRIPTION = """\
API tokens, for a gateway whose identity.modes contain "tokens" or are empty. These commands use the configured or
embedded database directly; a running gateway notices changes within a second."""

CREATE = """\
Create an API token for a user and print it. Only a digest is stored, so it cannot be shown again. --role and --project
limit what the token allows, in addition to its user's role in each project."""

LINK = """\
Create a link that signs a browser in to the console, and print it. It is valid once, for 15 minutes. The browser's
token works in that browser only; "token list" shows it, "token revoke" ends it."""


def add(commands: Any) -> None:
    tokens = group_of(commands, "token", "API tokens: create, list, revoke; sign-in links", DESCRIPTION)
    create = command(tokens, "create", "create one and print it", CREATE, calling(MODULE, "create_token"))
    create.add_argument("--user", dest="user_id", required=True, metavar="USER", help="its user")
    create.add_argument("--name", metavar="NAME", help="what it is for")
    create.add_argument(
        "--role", choices=ROLE_WORDS, default="admin", help="the highest role that it allows (default admin)"
    )
    create.add_argument(
        "--project",
        dest="projects",
        action="append",
        default=[],
        metavar="ID",
        help="allow only this project; may be repeated",
    )
    create.add_argument(
        "--expires", default="90d", metavar="TIME", help="after 90m, 12h, 30d, 4w, 1y, or never (default 90d)"
    )
    listed = command(
        tokens, "list", "list tokens", "List tokens, including revoked ones.", calling(MODULE, "list_tokens")
    )
    listed.add_argument("--user", dest="user_id", metavar="USER", help="only this user's")
    revoke = command(tokens, "revoke", "revoke one", "Revoke a token.", calling(MODULE, "revoke_token"))
    revoke.add_argument("token_id", metavar="ID", help="its id, as list shows it")
    link = command(tokens, "link", "create a link that signs a browser in", LINK, calling(MODULE, "make_link"))
    link.add_argument("--user", dest="user_id", default="local", metavar="USER", help="its user (default: local)")
    link.add_argument(
        "--url", metavar="URL", help="the gateway's address in the browser (default: the running gateway's)"
    )
    for parser in (create, listed, revoke, link):
        as_json(parser)
        data_dir(parser)
