"""The readiness checks: one for each part that this process depends on."""

from gateway.credentials.checking import missing_keys
from gateway.credentials.keyring import Keys
from gateway.db.migrate import names
from gateway.db.pool import Database
from gateway.follow.followers import Followers
from gateway.telemetry.readiness import Check, Readiness

_SHOWN_MIGRATIONS = 3
#: A note, no failure: everything else works.
NO_KEY = "There is no vault key: users' accounts and containers' secrets cannot be stored."


def readiness(database: Database, keys: Keys, followers: Followers) -> Readiness:
    return Readiness(
        {
            "database": _database(database),
            "migrations": _migrations(database),
            "vault": _vault(database, keys),
            "followers": _followers(followers),
        },
        notes={"vault": lambda: NO_KEY if keys.ring is None else None},
    )


def _database(database: Database) -> Check:
    async def check() -> str | None:
        await database.fetch_one("ping")
        return None

    return check


def _migrations(database: Database) -> Check:
    """Additional, newer migrations are fine: each version works with the schema of the next."""
    wanted = names()

    async def check() -> str | None:
        applied = {row["id"] for row in await database.fetch_all("list_migrations")}
        missing = sorted(wanted - applied)
        if not missing:
            return None
        shown = ", ".join(missing[:_SHOWN_MIGRATIONS]) + (", …" if len(missing) > _SHOWN_MIGRATIONS else "")
        return f"The database lacks {len(missing)} of them ({shown}); run acp-gateway migrate."

    return check


def _vault(database: Database, keys: Keys) -> Check:
    """This process must have every key that was used, by another gateway for example."""

    async def check() -> str | None:
        missing = await missing_keys(database, keys)
        return f"It lacks the key {', '.join(map(repr, sorted(missing)))}." if missing else None

    return check


def _followers(followers: Followers) -> Check:
    async def check() -> str | None:
        return None if followers.is_reviewed else "Which containers are to be followed here is not looked at any more."

    return check
