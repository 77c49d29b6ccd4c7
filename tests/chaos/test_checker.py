"""The checker finds what it is there for: each promise broken on purpose."""

from collections.abc import Callable
from random import Random

import attrs
import pytest

from tests.chaos.checker import Entry, Usage, Verdict, check_client, check_log, check_truth, check_usage
from tests.chaos.clients import Began, Client, Told
from tests.chaos.truth import Truth

EPOCH = 3


def world(count: int = 10) -> tuple[Truth, list[Entry], Client]:
    """A truth, a log that holds it, and a client that was told all of it."""
    truth = Truth()
    log = []
    for seq in range(1, count + 1):
        envelope = b'{"sessionId":"s","data":%b}' % truth.next()
        log.append(Entry.of(f"{EPOCH}-{seq}", "session_update", envelope))
    client = Client(list, "/", Random(0))
    client.record = [Began(EPOCH, 0, is_reset=False)]
    client.record += [Told(EPOCH, entry.seq, entry.type, entry.sum, 0.0) for entry in log]
    return truth, log, client


def judged(truth: Truth, log: list[Entry], client: Client) -> Verdict:
    verdict = Verdict()
    check_truth(verdict, truth, log)
    check_log(verdict, (EPOCH, 0, len(log)), [(entry.seq, entry.data) for entry in log], log)
    check_client(verdict, client, log)
    return verdict


def gap(seq: int) -> Entry:
    return Entry.of(f"{EPOCH}-{seq}", "gap", b'{"type":"gap","data":{"reason":"stream_interrupted"}}')


def test_a_whole_log_that_all_were_told_is_right() -> None:
    verdict = judged(*world())
    assert verdict.wrong == []
    assert verdict.delivered == 10


@pytest.mark.parametrize(
    ("promise", "spoil"),
    [
        ("P1", lambda truth, log, client: truth.next()),
        ("P1", lambda truth, log, client: log.append(attrs.evolve(log[4], seq=11))),
        ("P2", lambda truth, log, client: log.pop(4)),
        ("P2", lambda truth, log, client: log.insert(4, attrs.evolve(log[4], data=log[4].data[:-3] + b"y" + b'"}}}'))),
        ("P3", lambda truth, log, client: client.record.pop(5)),
        ("P3", lambda truth, log, client: client.record.insert(5, client.record[5])),
        ("P3", lambda truth, log, client: client.record.pop()),
        ("P4", lambda truth, log, client: client.record.append(Told(EPOCH, 11, "session_update", 1, 0.0))),
        ("P4", lambda truth, log, client: client.record.insert(5, Told(EPOCH, 5, "session_update", 1, 0.0))),
        ("P6", lambda truth, log, client: client.statuses.update([503])),
        ("P7", lambda truth, log, client: log.insert(2, log.pop(5))),
    ],
)
def test_a_broken_promise_is_found(promise: str, spoil: Callable[..., object]) -> None:
    truth, log, client = world()
    spoil(truth, log, client)
    assert promise in {wrong.split(":")[0] for wrong in judged(truth, log, client).wrong}


def test_what_a_gap_covers_is_not_lost() -> None:
    truth, log, _ = world()
    log[4:6] = [gap(5)]
    log[5:] = [attrs.evolve(entry, seq=entry.seq - 1) for entry in log[5:]]
    verdict = Verdict()
    check_truth(verdict, truth, log)
    assert verdict.wrong == []


def test_a_reset_lets_a_client_begin_anew() -> None:
    truth, log, client = world()
    client.record[3:6] = [Began(EPOCH, 5, is_reset=True)]
    assert judged(truth, log, client).wrong == []


def test_a_leak_is_found() -> None:
    verdict = Verdict()
    check_usage(verdict, "one", Usage(10, 10 << 20), Usage(200, 400 << 20))
    assert len(verdict.wrong) == 2
