"""The room opened: containers' events are read, masked, translated, and recorded."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.backfill.backfill import Histories
from gateway.config.schema import PermissionsConfig
from gateway.container.containers import Containers
from gateway.container.values import ContainerFacts
from gateway.credentials.known import KnownSecrets
from gateway.db.pool import Database
from gateway.follow.feeds import AcpFeed, OpencodeFeed
from gateway.follow.followers import Feeds, Followers
from gateway.ingest.lost_sessions import LostSessions
from gateway.ingest.mask import Masking
from gateway.ingest.opencode import Recording
from gateway.ingest.reconcile import Reconciliation
from gateway.ingest.translate import Translator
from gateway.log.store import Log
from gateway.permissions.requests import Permissions
from gateway.tasks import running
from gateway.telemetry.metrics import Metrics
from gateway.turns.turns import Turns
from gateway.wire.opencode import EVENT_STREAMS, EventStream


@asynccontextmanager
async def open_ingest(
    database: Database,
    log: Log,
    containers: Containers,
    known: KnownSecrets,
    followers: Followers,
    turns: Turns,
    permissions: Permissions,
    histories: Histories,
    config: PermissionsConfig,
    metrics: Metrics,
) -> AsyncIterator[None]:
    """Containers are followed while this is open."""
    translator = Translator(database, log, permission_timeout=config.timeout)
    masking = Masking(known, translator)
    reconciliation = Reconciliation(database, log, containers)
    lost_sessions = LostSessions(database, containers)

    async def connected(project_id: str, facts: ContainerFacts, fence: int) -> None:
        """In this order, when a container's stream is open and still unread."""
        await masking.connected(project_id)
        translator.connected(project_id, facts)
        await reconciliation.connected(project_id, facts, fence)
        await lost_sessions.connected(project_id)
        await turns.reconcile(project_id, facts, fence)
        await permissions.connected(project_id, facts, fence)
        histories.connected(project_id)

    def of_opencode(stream: EventStream) -> OpencodeFeed:
        recording = Recording(stream, database, known)
        return OpencodeFeed(
            log,
            followers.leases,
            stream,
            find=containers.finding(stream),
            translate=recording,
            on_connected=recording.connected,
            count_gap=metrics.gap,
        )

    feeds = Feeds(
        acp=AcpFeed(log, followers.leases, find=containers.find, translate=masking, on_connected=connected),
        opencode={name: of_opencode(stream) for name, stream in EVENT_STREAMS.items()},
    )
    async with running({"review followers": followers.review(feeds)}):
        yield
