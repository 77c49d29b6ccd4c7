"""Proves P1 to P7 over the truth, the log (from PostgreSQL and by the API) and what the clients were told."""

import json
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import attrs

from tests.chaos.clients import Began, Client, Told
from tests.chaos.processes import Usage
from tests.chaos.truth import Truth, checksum, serial_of

#: What a gateway may have more at the end than at its start: connections of its pools, caches, its allocator.
MORE_DESCRIPTORS, MORE_BYTES = 24, 150 * 2**20


@attrs.frozen
class Entry:
    """An event of the log, as a fresh client reads it by the API."""

    epoch: int
    seq: int
    type: str
    session_id: str | None
    sum: int
    data: bytes

    @classmethod
    def of(cls, id: str, type: str, envelope: bytes) -> "Entry":
        epoch, seq = map(int, id.split("-"))
        session_id = json.loads(envelope).get("sessionId")
        # Ours stands last in the envelope, as the bytes it came in.
        data = envelope[envelope.index(b',"data":') + 8 : -1]
        return cls(epoch, seq, type, session_id, checksum(envelope), data)


@attrs.define
class Verdict:
    """What was found; ``wrong`` holds a sentence for each broken promise."""

    wrong: list[str] = attrs.field(factory=list)
    losses: int = 0
    duplicates: int = 0
    reorderings: int = 0
    delivered: int = 0

    def say(self, promise: str, text: str) -> None:
        self.wrong.append(f"{promise}: {text}")


def check_truth(verdict: Verdict, truth: Truth, log: Sequence[Entry]) -> None:
    """P1 (each true event once, or a gap covers it), the bytes of P2, and P7 by what two writers would leave behind."""
    stored: list[int] = []
    gap_before: set[int] = set()
    gap_seen = False
    for entry in log:
        if entry.type == "gap":
            gap_seen = True
            continue
        try:
            serial = serial_of(entry.data) if entry.type == "session_update" else None
        except (ValueError, KeyError) as exc:
            verdict.say("P2", f"event {entry.seq} is torn: {exc}")
            continue
        if serial is None:
            continue
        if serial > len(truth.events) or truth.events[serial - 1] != entry.data:
            verdict.say("P2", f"event {entry.seq} has not the bytes of the container's event {serial}")
        if gap_seen:
            gap_before.add(serial)
        gap_seen = False
        stored.append(serial)
    counted = Counter(stored)
    if twice := [serial for serial, times in counted.items() if times > 1]:
        verdict.duplicates += len(twice)
        verdict.say("P1", f"{len(twice)} true events stand in the log more than once: {twice[:5]}")
    backwards = sum(after < before for before, after in pairwise(stored))
    if backwards:
        verdict.reorderings += backwards
        verdict.say("P7", f"{backwards} times the container's events stand in another order than it gave them")
    for before, after in pairwise([0, *sorted(counted), len(truth.events) + 1]):
        covered = after in gap_before or (after > len(truth.events) and gap_seen)
        if after - before > 1 and not covered:
            verdict.losses += after - before - 1
            verdict.say("P1", f"true events {before + 1} to {after - 1} are not in the log, and no gap says so")


def check_log(
    verdict: Verdict, head: tuple[int, int, int], rows: Sequence[tuple[int, bytes]], log: list[Entry]
) -> None:
    """P2: floor + 1 to head without holes, the same by the API as in PostgreSQL. ``rows``: what is not packed there."""
    epoch, floor, last = head
    if [entry.seq for entry in log] != list(range(floor + 1, last + 1)):
        verdict.say("P2", f"the API gave {len(log)} events of {floor + 1}..{last}, or in another order")
    if any(entry.epoch != epoch for entry in log):
        verdict.say("P2", "the API gave events of several epochs")
    by_seq = {entry.seq: entry for entry in log}
    for seq, payload in rows:
        if seq in by_seq and by_seq[seq].data != payload:
            verdict.say("P2", f"event {seq} has other bytes in PostgreSQL")


def check_client(
    verdict: Verdict, client: Client, log: Sequence[Entry], former: Sequence[tuple[int, int]] = ()
) -> None:
    """P3 (exactly the log from its start, or a reset), P4 (nothing else) and P6 (no 429 or 5xx).

    ``former``: epochs that ended at a failover, and where.
    """
    by_place = {(entry.epoch, entry.seq): entry for entry in log}
    for epoch, head in former:
        by_place |= {(epoch, entry.seq): entry for entry in log if entry.seq <= head}
    mine = [entry.seq for entry in log if _concerns(entry, client.session_id)]
    following = dict(pairwise([*mine, -1]))
    expected: int | None = None
    place = -1
    # What was told of an epoch before this one a restored backup has ended; a reset has said so.
    newest = max((one.epoch for one in client.record if isinstance(one, Began) and one.is_reset), default=-1)
    for one in client.record:
        if isinstance(one, Began):
            place = one.seq
            expected = next((seq for seq in mine if seq > place), -1)
            continue
        verdict.delivered += 1
        entry = by_place.get((one.epoch, one.seq))
        if entry is None or entry.sum != one.sum:
            if one.epoch < newest:
                continue
            verdict.say("P4", f"client {client.name} got {one.epoch}-{one.seq}, which the log has not, or otherwise")
            continue
        if one.seq != expected:
            _mismatch(verdict, client, one, expected, place)
        place, expected = one.seq, following.get(one.seq, -1)
    if expected not in (None, -1):
        left = sum(seq >= (expected or 0) for seq in mine)
        verdict.losses += left
        verdict.say("P3", f"client {client.name} stopped before {expected}: {left} events never came")
    for status, times in client.statuses.items():
        if status == 429 or status >= 500:
            verdict.say("P6", f"client {client.name}'s stream was answered {status}, {times} times")


def check_usage(verdict: Verdict, name: str, before: Usage, after: Usage) -> None:
    """P5: with all clients gone, a gateway holds what it held before they came."""
    if after.descriptors > before.descriptors + MORE_DESCRIPTORS:
        verdict.say("P5", f"{name} had {before.descriptors} descriptors and has {after.descriptors}")
    if after.rss > before.rss + MORE_BYTES:
        verdict.say("P5", f"{name} had {before.rss >> 20} MiB and has {after.rss >> 20} MiB")


def _concerns(entry: Entry, session_id: str | None) -> bool:
    return session_id is None or entry.session_id == session_id or (entry.type == "gap" and entry.session_id is None)


def _mismatch(verdict: Verdict, client: Client, told: Told, expected: int | None, place: int) -> None:
    if told.seq <= place:
        before = any(isinstance(one, Told) and one is not told and one.seq == told.seq for one in client.record)
        if before:
            verdict.duplicates += 1
        else:
            verdict.reorderings += 1
        verdict.say("P3", f"client {client.name} got {told.seq} after {place}")
    else:
        verdict.losses += 1
        verdict.say("P3", f"client {client.name} got {told.seq} where {expected} comes next")
