"""``acp-gateway migrate``."""

from typing import Any

from gateway.cli.commands.options import calling, command, data_dir

DESCRIPTION = """\
Bring the database's schema up to date, and stop. "up" and "serve" do this by themselves at every start; it is safe
while others do the same.

After you have restored the database from a backup, run it with --restored before you start any gateway: clients may
have seen events that the backup has not, and are then told to begin anew. Without it they would miss what comes under
the same numbers."""


def add(commands: Any) -> None:
    migrate = command(
        commands,
        "migrate",
        "bring the database's schema up to date, and stop",
        DESCRIPTION,
        calling("gateway.cli.database", "migrate_database"),
    )
    data_dir(migrate)
    migrate.add_argument("--restored", action="store_true", help="the database was restored from a backup")
