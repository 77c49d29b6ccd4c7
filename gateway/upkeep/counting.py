"""Metrics of committed events."""

import msgspec

from gateway.log.entries import Appended
from gateway.log.ids import LogId
from gateway.log.store import Listener
from gateway.telemetry.metrics import Metrics
from gateway.wire.events import Gap, TurnEnded


class _Reason(msgspec.Struct):
    reason: str = "unknown"


class _End(msgspec.Struct):
    outcome: str = "unknown"
    failure: str | None = None


_read_reason = msgspec.json.Decoder(_Reason).decode
_read_end = msgspec.json.Decoder(_End).decode


def counting(metrics: Metrics) -> Listener:
    """A listener that counts events. It misses commits whose caller was cancelled."""

    def listen(log_id: LogId, appended: Appended) -> None:
        metrics.recorded(appended.count)
        for event in appended.of(Gap.type):
            metrics.gap(_read_reason(event.data).reason)
        for event in appended.of(TurnEnded.type):
            end = _read_end(event.data)
            metrics.turn_ended(end.outcome, end.failure)

    return listen
