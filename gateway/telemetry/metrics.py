"""The metrics of one process. Labels hold no ids, nor other unbounded values.

All are written by the event loop's thread. What must be looked up on a scrape is a gauge with a function.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from http import HTTPStatus
from typing import Final

import attrs
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway.telemetry.durations import Durations, family

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
#: Instead of a status: the client left before there was one; the answer broke off.
LEFT: Final = "left"
BROKEN: Final = "broken"
#: Containers may answer with any number.
_STATUSES: Final = frozenset({*(str(status.value) for status in HTTPStatus), LEFT, BROKEN})
#: Distinct values of a label that come from containers and agents; further ones become "other".
MAX_WORDS: Final = 40
OTHER: Final = "other"

#: A gauge's current values, by label values.
Gauge = Callable[[], Mapping[tuple[str, ...], float]]


@attrs.frozen
class _Family:
    name: str
    text: str
    labels: tuple[str, ...] = ()


_REQUESTS = _Family("acp_gateway_requests", "Requests, by route template and status.", ("method", "route", "status"))
_EVENTS = _Family("acp_gateway_events_recorded", "Events that this process has committed to a log.")
_GAPS = _Family("acp_gateway_gaps", "Gaps that were written to a log: something is missing there.", ("reason",))
_TURNS = _Family("acp_gateway_turns_ended", "Turns that have ended, and how.", ("outcome", "failure"))
_UPSTREAM_ERRORS = _Family("acp_gateway_upstream_errors", "Requests to containers that failed.", ("code",))
_REFRESHES = _Family("acp_gateway_credential_refreshes", "Refreshes of users' tokens, by outcome.", ("outcome",))
_REFUSALS = _Family("acp_gateway_limit_refusals", "What was refused because a limit was reached.", ("limit",))
COUNTERS: Final = (_REQUESTS, _EVENTS, _GAPS, _TURNS, _UPSTREAM_ERRORS, _REFRESHES, _REFUSALS)

GAP_REASONS: Final = (
    "agent_output", "container_restarted", "not_storable", "oversized", "skipped", "spool_damaged", "spool_full",
    "stream_interrupted", "unnumbered",
)  # fmt: skip
REFRESH_OUTCOMES: Final = ("renewed", "postponed", "refused", "expired", "account_changed", "lost")
TURN_ENDS: Final = (
    ("completed", "none"),
    ("cancelled", "none"),
    ("stalled", "silent"),
    *(("lost", failure) for failure in ("answer_lost", "cancel_unanswered", "container_unreachable", "end_not_told")),
    *(
        ("failed", failure)
        for failure in (
            "agent_died", "agent_error", "agent_failed", "agent_stopped", "agent_timeout", "agent_unavailable",
            "auth_required", "container_moved", "container_refused", "container_restarted", "container_timeout",
            "container_unreachable", "refused_by_container", "session_lost",
        )
    ),
)  # fmt: skip
LIMITS: Final = (
    "requests_per_second", "turns_per_user", "turns_per_project", "sessions_per_project", "streams_per_user",
    "projects_per_user", "prompt_bytes", "failed_credentials",
)  # fmt: skip

_REQUEST_SECONDS = _Family(
    "acp_gateway_request_seconds", "How long requests took, event streams excepted.", ("method", "route")
)
_UPSTREAM_SECONDS = _Family(
    "acp_gateway_upstream_seconds",
    "How long containers took: to connect (0 on a kept connection), until the headers, and for the body.",
    ("phase",),
)
_LAG = _Family(
    "acp_gateway_event_lag_seconds",
    "container_to_commit: from a container's own time of an event, by its clock, until it is committed, the oldest of "
    "each batch. commit_to_client: from when this process knows of it until it is written to the live streams.",
    ("stage",),
)


class Metrics:
    """Counters and histograms with their registry. Make one for each application."""

    def __init__(self, version: str) -> None:
        self.registry = CollectorRegistry(auto_describe=False)
        self._counts: dict[_Family, defaultdict[tuple[str, ...], float]] = {one: defaultdict(float) for one in COUNTERS}
        self._counts[_EVENTS][()] = 0.0
        # For Prometheus a counter that appears with 1 has not risen: rare ones begin at 0.
        for one, words in ((_GAPS, GAP_REASONS), (_REFRESHES, REFRESH_OUTCOMES), (_REFUSALS, LIMITS)):
            for word in words:
                self._counts[one][word,] = 0.0
        self._counts[_TURNS].update(dict.fromkeys(TURN_ENDS, 0.0))
        #: Values that a label has had, the gateway's own first: those always fit.
        self._words: dict[str, set[str]] = defaultdict(
            set, reason=set(GAP_REASONS), refresh=set(REFRESH_OUTCOMES), failure={failure for _, failure in TURN_ENDS}
        )
        self._requests: dict[tuple[str, str], Durations] = {}
        self._phases = {(phase,): Durations() for phase in ("connect", "headers", "body")}
        self._lags = {(stage,): Durations() for stage in ("container_to_commit", "commit_to_client")}
        self._gauges: list[tuple[_Family, Gauge]] = []
        self.add_gauge("acp_gateway_build", "The gateway's version.", ("version",), lambda: {(version,): 1.0})
        self.registry.register(_Collected(self._collect))
        ProcessCollector(registry=self.registry)

    def add_gauge(self, name: str, text: str, labels: tuple[str, ...], values: Gauge) -> None:
        self._gauges.append((_Family(name, text, labels), values))

    def request(self, method: str, route: str, status: str, seconds: float | None) -> None:
        """A request was answered; ``seconds`` None: its duration means nothing."""
        if method not in _METHODS:
            method = OTHER
        if status not in _STATUSES:
            status = OTHER
        self._counts[_REQUESTS][method, route, status] += 1
        if seconds is not None:
            durations = self._requests.get((method, route))
            if durations is None:
                durations = self._requests[method, route] = Durations()
            durations.observe(seconds)

    def phase(self, name: str, seconds: float) -> None:
        """How long a container took to ``connect``, until its ``headers``, or for its ``body``."""
        self._phases[name,].observe(seconds)

    def upstream_failed(self, code: str) -> None:
        self._counts[_UPSTREAM_ERRORS][code,] += 1

    def recorded(self, events: int) -> None:
        self._counts[_EVENTS][()] += events

    def gap(self, reason: str) -> None:
        self._counts[_GAPS][self._word("reason", reason),] += 1

    def turn_ended(self, outcome: str, failure: str | None) -> None:
        self._counts[_TURNS][self._word("outcome", outcome), self._word("failure", failure or "none")] += 1

    def credential_refreshed(self, outcome: str) -> None:
        self._counts[_REFRESHES][self._word("refresh", outcome),] += 1

    def refused(self, limit: str) -> None:
        self._counts[_REFUSALS][limit,] += 1

    def committed(self, seconds: float) -> None:
        """A container's event was committed this long after it happened; clocks may differ."""
        self._lags["container_to_commit",].observe(max(seconds, 0.0))

    def shown(self, seconds: float) -> None:
        """Live streams were sent an event that this process had known of for this long."""
        self._lags["commit_to_client",].observe(seconds)

    def _word(self, label: str, word: str) -> str:
        known = self._words[label]
        if word not in known:
            if len(known) >= MAX_WORDS:
                return OTHER
            known.add(word)
        return word

    def _collect(self) -> Iterator[Metric]:
        for one in COUNTERS:
            counter = CounterMetricFamily(one.name, one.text, labels=one.labels)
            for values, count in self._counts[one].items():
                counter.add_metric(values, count)
            yield counter
        for one, children in (
            (_REQUEST_SECONDS, self._requests),
            (_UPSTREAM_SECONDS, self._phases),
            (_LAG, self._lags),
        ):
            yield family(one.name, one.text, one.labels, children)
        for shape, values_now in self._gauges:
            gauge = GaugeMetricFamily(shape.name, shape.text, labels=shape.labels)
            for values, value in values_now().items():
                gauge.add_metric(values, value)
            yield gauge


class _Collected(Collector):
    def __init__(self, collect: Callable[[], Iterable[Metric]]) -> None:
        self._collect = collect

    def collect(self) -> Iterable[Metric]:
        return self._collect()
