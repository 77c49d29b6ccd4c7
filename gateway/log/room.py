"""Opens the log and its transcript; nothing has to be closed."""

import attrs
from aiohttp import web

from gateway.db.pool import Database
from gateway.log.folding import Folding
from gateway.log.store import Log
from gateway.log.transcript import Transcript


@attrs.frozen(kw_only=True)
class LogRoom:
    store: Log
    folding: Folding
    transcript: Transcript


LOG = web.AppKey("log", LogRoom)


def open_log(database: Database) -> LogRoom:
    store = Log(database)
    folding = Folding(database, store)
    return LogRoom(store=store, folding=folding, transcript=Transcript(database, store, folding))
