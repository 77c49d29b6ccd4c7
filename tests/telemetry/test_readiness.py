"""Readiness costs one look however many ask, and an answer always comes in time."""

import asyncio

import pytest

from gateway.errors import DatabaseUnavailable
from gateway.telemetry import readiness
from gateway.telemetry.readiness import Readiness


async def test_many_who_ask_share_one_look_and_it_holds_for_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0

    async def check() -> str | None:
        nonlocal looks
        looks += 1
        await asyncio.sleep(0.01)
        return None

    asked = Readiness({"database": check})
    reports = await asyncio.gather(*(asked.report() for _ in range(100)))
    assert all(report.is_ready for report in reports)
    await asked.report()
    assert looks == 1
    monkeypatch.setattr(readiness, "FRESH_SECONDS", 0.0)
    await asked.report()
    assert looks == 2


async def test_a_part_that_never_answers_is_not_ready_and_the_others_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "LIMIT_SECONDS", 0.05)

    async def stuck() -> str | None:
        await asyncio.Event().wait()
        return None

    async def away() -> str | None:
        raise DatabaseUnavailable("The database is away.")

    async def broken() -> str | None:
        raise ValueError("secret")

    async def fine() -> str | None:
        return None

    report = await Readiness({"vault": stuck, "database": away, "followers": broken, "migrations": fine}).report()
    assert not report.is_ready
    assert report.parts == {
        "vault": "It did not answer within 0.05 seconds.",
        "database": "The database is away.",
        "followers": "It could not be looked at; the gateway's log says why.",
        "migrations": None,
    }


async def test_one_who_asks_and_leaves_keeps_the_others_waiting_for_nothing() -> None:
    go = asyncio.Event()

    async def check() -> str | None:
        await go.wait()
        return None

    asked = Readiness({"database": check})
    leaving, staying = asyncio.create_task(asked.report()), asyncio.create_task(asked.report())
    await asyncio.sleep(0)
    leaving.cancel()
    go.set()
    assert (await staying).is_ready


async def test_once_it_stops_it_is_not_ready_whatever_the_parts_say() -> None:
    async def fine() -> str | None:
        return None

    asked = Readiness({"database": fine})
    assert (await asked.report()).is_ready
    asked.stop()
    assert (await asked.report()).parts == {"gateway": "It is stopping."}
