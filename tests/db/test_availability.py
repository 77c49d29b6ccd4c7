"""A database that is away is told of once, and once more when it is back, however many find it out meanwhile."""

import asyncio
import logging

import pytest

from gateway.db.availability import Availability
from tests.db.relay import Relay
from tests.fakes.eventually import eventually
from tests.fakes.numbered import NumberedContainer
from tests.log.recording import begun, until_recorded, updates
from tests.world import QUICK, GatewayProcess


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def told(caplog: pytest.LogCaptureFixture) -> list[tuple[str, object]]:
    return [
        (record.getMessage(), getattr(record, "seconds", None))
        for record in caplog.records
        if record.name == "gateway.db.availability"
    ]


def test_it_is_back_when_it_has_worked_for_a_second(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    availability = Availability(clock)
    availability.worked()
    for clock.now in (10.0, 10.1, 15.0):
        availability.failed("Connection refused")
    for clock.now in (20.0, 20.5):
        availability.worked()
    clock.now = 20.9
    availability.failed("all connections are busy")
    for clock.now in (22.0, 22.5):
        availability.worked()
    assert told(caplog) == [("database cannot be used", None)]
    for clock.now in (23.0, 23.1, 99.0):
        availability.worked()
    assert told(caplog)[1:] == [("database can be used again", 12.0)]


async def test_while_postgresql_is_away_a_gateway_says_so_once_and_once_that_it_is_back(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with (
        NumberedContainer() as container,
        Relay(database_url) as relay,
        GatewayProcess(relay.url, QUICK).run() as gateway,
    ):
        project = await begun(gateway, container)
        async with project.events():
            container.emit(5)
            await until_recorded(gateway, 5)
            caplog.clear()
            await relay.go_away()
            container.emit(5)
            await eventually(lambda: told(caplog) != [])
            await asyncio.sleep(3)  # In which all that looks again and again has looked.
            await relay.come_back()
            assert updates(await until_recorded(gateway, 10)) == list(container.truth.values())
            await eventually(lambda: len(told(caplog)) > 1)
        [(_, _), (back, seconds)] = told(caplog)
        assert back == "database can be used again"
        assert isinstance(seconds, float)
        assert 3 <= seconds < 15
    others = [record.getMessage() for record in caplog.records if record.name != "gateway.db.availability"]
    # A connection of each kind may have been lost in the middle of something; nothing is said again and again.
    assert len(others) <= 4, others
