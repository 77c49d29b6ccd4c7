"""The room opened: changes of projects, members and accounts."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
from aiohttp import web

from gateway.administration.accounts import Accounts
from gateway.administration.membership import Membership
from gateway.administration.registration import Registration
from gateway.credentials.room import CredentialsRoom
from gateway.db.pool import Database
from gateway.follow.followers import Followers
from gateway.identity.members import Members
from gateway.injection.withdrawals import Withdrawals
from gateway.log.store import Log
from gateway.oauth.room import OAuthRoom
from gateway.projects.room import ProjectsRoom
from gateway.tasks import Tasks
from gateway.telemetry.metrics import Metrics


@attrs.frozen(kw_only=True)
class Administration:
    accounts: Accounts
    membership: Membership
    registration: Registration


ADMINISTRATION = web.AppKey("administration", Administration)


@asynccontextmanager
async def open_administration(
    database: Database,
    log: Log,
    projects: ProjectsRoom,
    members: Members,
    credentials: CredentialsRoom,
    oauth: OAuthRoom,
    followers: Followers,
    withdrawals: Withdrawals,
    metrics: Metrics,
) -> AsyncIterator[Administration]:
    """On leaving, the work is cancelled that clients have left behind."""
    tasks = Tasks()
    try:
        yield Administration(
            accounts=Accounts(database, credentials.store, oauth, withdrawals, tasks),
            membership=Membership(members, log, tasks),
            registration=Registration(projects, followers, metrics, tasks),
        )
    finally:
        await tasks.close()
