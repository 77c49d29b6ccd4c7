"""The journal by itself: its numbers have no holes."""

import pytest

from gateway.agenthost.journal import Journal


def test_an_event_that_cannot_be_framed_takes_no_number() -> None:
    journal = Journal(size=10, size_bytes=10_000)
    journal.append("told", {"n": 1})
    with pytest.raises(TypeError):
        journal.append("told", object())
    journal.append("told", {"n": 2})
    journal.append("told", {"n": 3})
    assert journal.head == 3
    frames, reached = journal.read(1, None, 10_000)
    assert reached == 3
    assert [f"id: {journal.id_of(number)}\n".encode() in frames for number in (1, 2, 3)] == [False, True, True]
