"""``acp-gateway migrate``."""

from typing import Any

from gateway.cli.commands.options import calling, command, data_dir

DESCRIPTION = """\
Migrate the database's schema, and exit. "up" and "serve" do this at every start. It is safe to run concurrently.

After you have restored the database from a backup, run it with --restored before you start a gateway: clients may have
seen events that the backup lacks, and are then told to start anew. Otherwise they would miss new events with the same
numbers."""


def add(commands: Any) -> None:
    migrate = command(
        commands,
        "migrate",
        "migrate the database's schema, and exit",
        DESCRIPTION,
        calling("gateway.cli.database", "migrate_database"),
    )
    data_dir(migrate)
    migrate.add_argument("--restored", action="store_true", help="the database was restored from a backup")
