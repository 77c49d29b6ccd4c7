"""``acp-gateway key …``."""

from typing import Any

from gateway.cli.commands.options import as_json, calling, command, data_dir, group_of

MODULE = "gateway.cli.key"

DESCRIPTION = """\
The keys that seal users' tokens and containers' secrets: a ring in the file vault.key_file, by default beside the
embedded PostgreSQL. To change the key, run "key new", copy the file to every gateway on this database, and run "key
rotate". Gateways keep running. No command shows a key."""

NEW = """\
Add a key to the file, or create the file with a first key (mode 0600). A further key seals nothing until "key
rotate"."""

ROTATE = """\
Make the newest key (or ID) the current one, and seal everything again with it, while gateways run; they reload the
file themselves. If it is interrupted, run it again. Keep former keys as long as a backup may need them."""

FORGET = """\
Delete what a lost key has sealed: unreadable tokens and secrets, with which gateways refuse to start. Their users must
connect their accounts again."""


def add(commands: Any) -> None:
    keys = group_of(commands, "key", "the vault's keys: new, rotate, list, forget", DESCRIPTION)
    new = command(keys, "new", "add a key to the file, or create the file", NEW, calling(MODULE, "new_key"))
    rotate = command(keys, "rotate", "seal everything with the newest key", ROTATE, calling(MODULE, "rotate_keys"))
    rotate.add_argument("key_id", nargs="?", metavar="ID", help="the key to seal with (default: the newest)")
    listed = command(keys, "list", "list the keys and what they seal", DESCRIPTION, calling(MODULE, "list_keys"))
    as_json(listed)
    forget = command(keys, "forget", "delete what a lost key has sealed", FORGET, calling(MODULE, "forget_key"))
    forget.add_argument("key_id", metavar="ID", help="the lost key's id")
    for parser in (new, rotate, listed, forget):
        data_dir(parser)
