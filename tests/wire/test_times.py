"""Times of containers, which may be anything."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.times import parse_timestamp, timestamp


def test_a_time_is_read_in_any_zone_and_shown_in_utc() -> None:
    read = parse_timestamp("2026-11-22T01:30:00.5+02:00")
    assert read == datetime(2026, 11, 21, 23, 30, 0, 500_000, tzinfo=UTC)
    assert timestamp(read) == "2026-11-21T23:30:00.500Z"


@pytest.mark.parametrize(
    "text",
    [
        None,
        5,
        "soon",
        "2026-11-22T00:00:00",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        "1969-12-31T23:59:59Z",
        "1970-01-01T00:00:00+00:01",
        "9999-01-01T00:00:00Z",
    ],
)
def test_what_is_no_time_of_a_container_is_none(text: object) -> None:
    assert parse_timestamp(text) is None


@given(st.datetimes(timezones=st.timezones() | st.just(UTC)))
def test_whatever_is_read_can_be_shown(at: datetime) -> None:
    read = parse_timestamp(at.isoformat())
    assert read is None or timestamp(read).endswith("Z")
