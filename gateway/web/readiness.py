"""The readiness checks: one for each part that this process depends on."""

from gateway.credentials.checking import missing_keys
from gateway.credentials.keyring import Keys
from gateway.db.errors import SYNCHRONOUS_STANDBY, TOO_MANY_CONNECTIONS
from gateway.db.migrate import names
from gateway.db.pool import Database
from gateway.follow.followers import Followers
from gateway.stream.wakeups import Wakeups
from gateway.telemetry.readiness import Check, Readiness
from gateway.upkeep.presence import LATE_SECONDS, Presence

_SHOWN_MIGRATIONS = 3
#: A note, no failure: everything else works.
NO_KEY = "There is no vault key: users' accounts and containers' secrets cannot be stored."
FEW_CONNECTIONS = f"Calls wait for connections: {TOO_MANY_CONNECTIONS.clause}."
DEAF = "Other gateways' notifications do not arrive, so what they record is shown up to a second late: {}."


def readiness(database: Database, presence: Presence, keys: Keys, followers: Followers, wakeups: Wakeups) -> Readiness:
    def note_of_database() -> str | None:
        notes = (
            FEW_CONNECTIONS if TOO_MANY_CONNECTIONS.word in database.troubles() else None,
            DEAF.format(wakeups.deafness) if wakeups.deafness else None,
        )
        return " ".join(filter(None, notes)) or None

    return Readiness(
        {
            "database": _database(database, presence),
            "migrations": _migrations(database),
            "vault": _vault(database, keys),
            "followers": _followers(followers),
        },
        notes={"database": note_of_database, "vault": lambda: NO_KEY if keys.ring is None else None},
    )


def _database(database: Database, presence: Presence) -> Check:
    """It must answer, and take changes: every few seconds this gateway's presence is one."""

    async def check() -> str | None:
        await database.fetch_one("ping")
        if presence.failure is not None:
            return presence.failure
        if presence.is_late or SYNCHRONOUS_STANDBY.word in database.troubles():
            await database.look_for_waits()
        troubles = {word: clause for word, clause in database.troubles().items() if word != TOO_MANY_CONNECTIONS.word}
        if troubles:
            return f"The database refuses work: {'; '.join(troubles.values())}."
        return f"It has not committed a change for {LATE_SECONDS:g} seconds." if presence.is_late else None

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
