"""The event stream: numbered, replayable, honest about what it no longer has; nobody waits for a slow client."""

import asyncio

import pytest

from tests.agenthost.conftest import OpenHost
from tests.agenthost.hosts import Host, chunk, text_in, until


async def has_clients(host: Host, count: int) -> bool:
    return bool((await host.get("/info")).body["connectedClients"] == count)


async def boot_id(host: Host) -> str:
    return str((await host.get("/info")).body["bootId"])


async def test_ids_are_the_boot_and_a_number_counting_up_from_1(host: Host) -> None:
    await host.run(await host.session(), chunk("hello"))
    told = await host.everything()
    boot = await boot_id(host)
    assert [one.id for one in told] == [f"{boot}-{number}" for number in range(1, len(told) + 1)]


async def test_envelope_is_the_contract_s(host: Host) -> None:
    session = await host.session()
    await host.run(session, chunk("hello"))
    (told,) = [one for one in await host.everything() if one.type == "session_update"]
    assert told.envelope.keys() == {"type", "sessionId", "agentId", "data", "timestamp"}
    assert (told.envelope["type"], told.envelope["sessionId"]) == ("session_update", session)
    assert told.envelope["timestamp"].endswith("Z")


async def test_stream_without_an_id_begins_with_what_comes_next(host: Host) -> None:
    session = await host.session()
    await host.run(session, chunk("before"))
    async with host.events() as events:
        await host.run(session, chunk("after"))
        assert text_in(await events.until("session_end_turn")) == "after"


async def test_every_place_can_be_resumed_from(host: Host) -> None:
    await host.run(await host.session(), chunk("a"), chunk("b"), chunk("c"))
    told = await host.everything()
    for index, last in enumerate(told[:-1]):
        async with host.events(last_event_id=last.id) as events:
            rest = [await events.next() for _ in told[index + 1 :]]
        assert rest == told[index + 1 :]


async def test_what_the_journal_has_dropped_is_told_as_a_gap_first(open_host: OpenHost) -> None:
    async with open_host(journal_size=10) as host:
        await host.run(await host.session(), *[chunk("x")] * 30)
        boot = await boot_id(host)
        async with host.events(last_event_id=f"{boot}-5") as events:
            gap = await events.next()
            following = await events.next()
    assert gap.type == "gap"
    head = following.number + 9
    assert gap.data == {"from": f"{boot}-6", "to": f"{boot}-{head - 10}", "reason": "journal_overflow"}
    assert gap.number == following.number - 1


async def test_journal_is_bounded_in_bytes_too(open_host: OpenHost) -> None:
    async with open_host(journal_bytes=100_000) as host:
        await host.run(await host.session(), *[["say", "x", 30_000]] * 6)
        boot = await boot_id(host)
        async with host.events(last_event_id=f"{boot}-0") as events:
            told = await events.until("session_end_turn")
    assert told[0].type == "gap"
    assert len(told) == 5


async def test_event_larger_than_the_journal_is_kept_until_the_next(open_host: OpenHost) -> None:
    async with open_host(journal_bytes=1000) as host, host.events() as events:
        await host.begin(await host.session(), ["say", "x", 5000], ["until-cancel"])
        assert len(text_in(await events.until("session_update"))) == 5000


async def test_id_of_another_boot_is_a_gap_whose_end_nobody_knows(host: Host) -> None:
    await host.run(await host.session(), chunk("hello"))
    told = await host.everything()
    async with host.events(last_event_id="0123456789abcdef-41") as events:
        gap = await events.next()
        assert (gap.type, gap.data) == ("gap", {"from": "0123456789abcdef-42", "to": None, "reason": "restarted"})
        assert [await events.next() for _ in told] == told


@pytest.mark.parametrize("last", ["nonsense", "-", "x-1-y", "BOOT-999999", "BOOT-²"])
async def test_id_that_is_none_of_ours_is_a_gap(host: Host, last: str) -> None:
    given = last.replace("BOOT", await boot_id(host))
    async with host.events(last_event_id=given) as events:
        gap = await events.next()
    assert (gap.type, gap.data["to"], gap.data["reason"]) == ("gap", None, "unknown_id")


async def test_gap_s_id_can_be_resumed_from(open_host: OpenHost) -> None:
    async with open_host(journal_size=10) as host:
        await host.run(await host.session(), *[chunk("x")] * 30)
        async with host.events(last_event_id=f"{await boot_id(host)}-1") as events:
            gap, following = await events.next(), await events.next()
        async with host.events(last_event_id=gap.id) as events:
            assert await events.next() == following


async def test_session_s_stream_has_its_own_events_and_every_agent_status(host: Host) -> None:
    mine, other = await host.session(), await host.session()
    async with host.events(f"/events/{mine}") as events:
        await host.run(other, chunk("other"))
        await host.run(mine, chunk("mine"))
        await host.post("/agents/scripted/stop")
        told = await events.until("agent_status")
    assert text_in(told) == "mine"
    assert {one.envelope.get("sessionId") for one in told} == {mine, None}


async def test_quiet_stream_has_comments(open_host: OpenHost) -> None:
    async with open_host(heartbeat=0.05) as host, host.events() as events:
        seen = b""
        async with asyncio.timeout(20):
            while seen.count(b": ping") < 3:
                seen += await events.response.content.readany()
    assert b"event:" not in seen


async def test_heartbeats_are_at_most_15_seconds_apart(host: Host) -> None:
    assert host.config.heartbeat <= 15


async def test_stream_is_counted_until_its_client_has_gone(open_host: OpenHost) -> None:
    async with open_host(heartbeat=0.05) as host:
        async with host.events():
            assert (await host.get("/info")).body["connectedClients"] == 1
        await until(lambda: has_clients(host, 0))


async def test_client_that_does_not_read_keeps_nobody_waiting_and_is_dropped(open_host: OpenHost) -> None:
    async with open_host(stall_timeout=0.3, journal_bytes=2_000_000) as host:
        url = host.http.make_url("/")
        assert url.port is not None
        _, writer = await asyncio.open_connection(url.host, url.port, limit=1024)
        writer.write(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        session = await host.session()
        await until(lambda: has_clients(host, 1))
        async with host.events() as events:
            await host.begin(session, *[["say", "x", 100_000]] * 200)
            await events.until("session_end_turn")
            # The client that reads is left; the other one has been dropped.
            await until(lambda: has_clients(host, 1))
        writer.close()


async def test_client_that_falls_behind_is_told_what_it_has_missed(open_host: OpenHost) -> None:
    async with open_host(journal_size=20) as host:
        session = await host.session()
        async with host.events() as slow:
            # Far more than the sockets hold.
            await host.run(session, *[["say", "x", 200_000]] * 200)
            told = await slow.until("session_end_turn")
    assert [one.type for one in told].count("gap") >= 1
    reached = told[0].number - 1
    for one in told:
        assert one.envelope.get("data", {}).get("from", one.id).endswith(f"-{reached + 1}")
        reached = one.number


async def test_streams_end_with_what_there_is_when_the_host_ends(open_host: OpenHost) -> None:
    async with open_host() as host:
        session = await host.session()
        async with host.events() as events:
            await host.begin(session, ["until-cancel"])
            ending = asyncio.create_task(host.http.server.close())
            told = await events.until("session_end_turn")
            with pytest.raises(EOFError):
                await events.until("nothing more")
            await ending
    assert told[-1].data["error"]["code"] == "agent_stopped"


async def test_stream_may_not_be_cached_or_changed(host: Host) -> None:
    async with host.events() as events:
        headers = events.response.headers
    assert headers["Content-Type"] == "text/event-stream"
    assert headers["Cache-Control"] == "no-store, no-transform"
    assert headers["X-Accel-Buffering"] == "no"


async def test_many_streams_get_every_event(open_host: OpenHost) -> None:
    async with open_host() as host:
        session = await host.session()

        async def follow() -> str:
            async with host.events() as events:
                opened.release()
                return text_in(await events.until("session_end_turn"))

        opened = asyncio.Semaphore(0)
        followers = [asyncio.create_task(follow()) for _ in range(20)]
        for _ in followers:
            await opened.acquire()
        await host.run(session, *[chunk(f"{number} ") for number in range(100)])
        expected = "".join(f"{number} " for number in range(100))
        assert await asyncio.gather(*followers) == [expected] * 20
