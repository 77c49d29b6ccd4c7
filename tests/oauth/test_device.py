"""The device login's questions on a clock that only the test moves."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.oauth.protocol.device import Polling
from gateway.oauth.protocol.outcomes import Granted, Malformed, Refused, Unavailable, Waiting
from tests.oauth.samples import NOW

PENDING, SLOW = Waiting(), Waiting(slow_down=True)
AWAY = Unavailable(reason="away")


def waits(*answers: Any, interval: float = 5, expires_in: float = 900) -> list[float]:
    """Seconds between the questions, where these are their answers."""
    polling = Polling.begun(interval=interval, expires_in=expires_in, now=NOW)
    found, now = [(polling.next_at - NOW).total_seconds()], polling.next_at
    for answer in answers:
        after = polling.after(answer, now)
        assert isinstance(after, Polling)
        polling = after
        found.append((polling.next_at - now).total_seconds())
        now = polling.next_at
    return found


def test_slow_down_holds_for_all_later_questions() -> None:
    assert waits(PENDING, SLOW, PENDING, SLOW) == [5, 5, 10, 10, 15]


def test_an_interval_that_comes_with_slow_down_holds_where_it_is_longer() -> None:
    assert waits(Waiting(slow_down=True, interval=12), PENDING) == [5, 12, 12]
    assert waits(Waiting(slow_down=True, interval=6), PENDING) == [5, 10, 10]


def test_a_provider_that_is_away_is_asked_less_and_less_often_and_as_before_once_it_answers() -> None:
    assert waits(AWAY, AWAY, AWAY, AWAY, AWAY, PENDING) == [5, 10, 20, 40, 60, 60, 5]


def test_a_time_to_ask_again_is_kept() -> None:
    assert waits(Unavailable(reason="busy", retry_after=33), PENDING) == [5, 33, 5]


def test_an_answer_that_is_none_ends_nothing() -> None:
    assert waits(Malformed(reason="a page"), PENDING) == [5, 10, 5]


def test_nobody_is_asked_after_the_end() -> None:
    polling = Polling.begun(interval=5, expires_in=12, now=NOW)
    once = polling.after(PENDING, NOW + timedelta(seconds=5))
    assert isinstance(once, Polling)
    assert once.after(PENDING, NOW + timedelta(seconds=10)) == Refused(error="expired_token")


@pytest.mark.parametrize("answer", [Refused(error="access_denied"), Refused(error="what"), Granted(access_token="a")])
def test_a_decision_ends_it(answer: Any) -> None:
    assert Polling.begun(interval=5, expires_in=60, now=NOW).after(answer, NOW) is answer


@given(
    st.lists(st.sampled_from([PENDING, SLOW, AWAY, Malformed(reason="x"), Waiting(slow_down=True, interval=60)])),
    st.floats(1, 60),
    st.floats(1, 3600),
)
def test_whatever_is_answered_questions_keep_their_distance_and_end(
    answers: list[Any], interval: float, expires_in: float
) -> None:
    polling, now = Polling.begun(interval=interval, expires_in=expires_in, now=NOW), NOW
    least: float = interval
    for answer in answers:
        asked: datetime = max(now, polling.next_at)
        after = polling.after(answer, asked)
        if not isinstance(after, Polling):
            return
        least = max(least, after.interval)
        assert after.next_at - asked >= timedelta(seconds=least) - timedelta(microseconds=2)
        assert after.next_at < NOW + timedelta(seconds=expires_in)
        polling, now = after, asked
