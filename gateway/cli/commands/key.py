"""``acp-gateway key …``."""

from typing import Any

from gateway.cli.commands.options import as_json, calling, command, data_dir, group_of

MODULE = "gateway.cli.key"

DESCRIPTION = """\
The keys that users' tokens and containers' secrets are sealed with: a ring in the file that vault.key_file names, or
beside the embedded PostgreSQL. To change the key: "key new", give the file to every gateway on this database, then
"key rotate", which is safe to run again after it was interrupted. Gateways go on meanwhile. No command shows a key."""

NEW = """\
Add a key to the file, or make the file with a first one (mode 0600). A further key seals nothing until "key rotate"."""

ROTATE = """\
Make the newest key the current one, or ID, and seal everything again that another key seals, while gateways run. They
read the file again by themselves. Run it again if it was interrupted. Keep former keys as long as a backup may need
them."""

FORGET = """\
Delete what a lost key has sealed: the tokens and secrets that nobody can read any more, and that gateways refuse to
start with. Their users connect their accounts again."""


def add(commands: Any) -> None:
    keys = group_of(commands, "key", "the vault's keys: new, rotate, list, forget", DESCRIPTION)
    new = command(keys, "new", "add a key to the file, or make the file", NEW, calling(MODULE, "new_key"))
    rotate = command(keys, "rotate", "seal everything with the newest key", ROTATE, calling(MODULE, "rotate_keys"))
    rotate.add_argument("key_id", nargs="?", metavar="ID", help="the key to seal with (default: the newest)")
    listed = command(
        keys, "list", "show which keys there are and what they seal", DESCRIPTION, calling(MODULE, "list_keys")
    )
    as_json(listed)
    forget = command(keys, "forget", "delete what a lost key has sealed", FORGET, calling(MODULE, "forget_key"))
    forget.add_argument("key_id", metavar="ID", help="the lost key's id")
    for parser in (new, rotate, listed, forget):
        data_dir(parser)
