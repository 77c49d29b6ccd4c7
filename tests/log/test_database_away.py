"""While PostgreSQL is away what containers say is kept, up to a limit, and nothing begins that cannot be recorded."""

import asyncio

import attrs
import pytest

from gateway.db.pool import Database
from gateway.errors import ConfigError
from gateway.follow.room import FOLLOWERS
from gateway.ingest import translate
from tests.db.relay import Relay
from tests.fakes.container import FakeContainer
from tests.fakes.eventually import eventually
from tests.fakes.numbered import NumberedContainer
from tests.log.recording import begun, gaps, until_recorded, updates
from tests.world import QUICK, GatewayProcess

SMALL = attrs.evolve(QUICK, events=attrs.evolve(QUICK.events, spool_memory_bytes=65_536, spool_max_bytes=200_000))


async def test_a_prompt_is_refused_before_its_container_hears_of_it(
    database_url: str, base_container: FakeContainer
) -> None:
    async with Relay(database_url) as relay, GatewayProcess(relay.url, QUICK).run() as gateway:
        project = await gateway.register(base_container.url)
        session = await project.create_session()
        await relay.go_away()
        base_container.requests.clear()
        answer = await project.call("POST", f"/session/{session}/prompt", {"prompt": "say no"})
        assert answer.status == 503
        assert int(answer.headers["Retry-After"]) > 0
        assert not [request for request in base_container.requests if request.method == "POST"]
        await relay.come_back()
        async with asyncio.timeout(20):
            while (await project.call("POST", f"/session/{session}/prompt", {"prompt": "say yes"})).status == 503:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        await eventually(lambda: any(request.path.endswith("/prompt") for request in base_container.requests))
        assert b"say no" not in b"".join(request.body for request in base_container.requests)


async def test_a_numbered_container_that_says_too_much_meanwhile_is_read_again_from_the_mark(database_url: str) -> None:
    async with (
        NumberedContainer() as container,
        Relay(database_url) as relay,
        GatewayProcess(relay.url, SMALL).run() as gateway,
    ):
        await begun(gateway, container)
        container.emit(5)
        await until_recorded(gateway, 5)
        await relay.go_away()
        for _ in range(40):
            container.emit(100)
            await asyncio.sleep(0.01)
        await relay.come_back()
        events = await until_recorded(gateway, 4_005)
        assert updates(events) == list(container.truth.values())
        assert gaps(events) == []
        assert len(container.asked) >= 2
        assert all(asked is None or asked.startswith(container.boot) for asked in container.asked)


async def test_what_an_unnumbered_container_says_beyond_the_limit_is_a_gap_that_counts_it(
    database_url: str, base_container: FakeContainer
) -> None:
    async with Relay(database_url) as relay, GatewayProcess(relay.url, SMALL).run() as gateway:
        project = await gateway.register(base_container.url)
        await project.create_session()
        own = next(iter(base_container.sessions))
        await eventually(lambda: gateway.app[FOLLOWERS].held() == ["demo"])
        await relay.go_away()
        told = 3_000
        for number in range(told):
            content = {"type": "text", "text": f"{number} "}
            update = {"update": {"sessionUpdate": "agent_message_chunk", "content": content}}
            base_container.emit("session_update", update, session_id=own)
        await asyncio.sleep(1.0)
        await relay.come_back()
        async with asyncio.timeout(30):
            while not (  # noqa: ASYNC110
                found := [gap for gap in gaps(await until_recorded(gateway, 0)) if gap["reason"] == "spool_full"]
            ):
                await asyncio.sleep(0.1)
        kept = [int(text) for text in updates(await until_recorded(gateway, 0))]
        assert kept == sorted(set(kept))
        assert len(kept) + sum(int(str(gap["count"])) for gap in found) == told


async def test_leases_are_kept_when_the_answer_to_a_renewal_is_lost(database_url: str) -> None:
    async with (
        NumberedContainer() as container,
        Relay(database_url) as relay,
        GatewayProcess(relay.url, QUICK).run() as gateway,
    ):
        await begun(gateway, container)
        for _ in range(3):
            relay.cut_after(b"update follower_leases")
            await eventually(lambda: relay.has_cut)
        container.emit(5)
        assert updates(await until_recorded(gateway, 5)) == list(container.truth.values())
        assert len(container.asked) == 1


async def test_a_session_in_creation_holds_up_what_a_foreign_session_says_for_a_bounded_time(
    database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(translate, "_CREATION_SECONDS", 0.5)
    async with NumberedContainer() as container, GatewayProcess(database_url, QUICK).run() as gateway:
        await begun(gateway, container)
        await database.execute(
            "insert_session",
            project_id="demo",
            id="ses_never_made",
            user_id="local",
            agent_id="demo",
            credential_user_id=None,
            title=None,
            working_directory=None,
            has_mcp_servers=False,
        )
        ours, container.session = container.session, "of-somebody-else"
        container.emit(3)
        container.session = ours
        container.emit(2)
        # What the foreign one said is none of the project's, and not missing either.
        events = await until_recorded(gateway, 2)
        assert updates(events) == ["e4 ", "e5 "]
        assert [event for event in events if event.type == "gap"] == []


async def test_a_project_that_is_asked_for_while_its_reasons_are_read_is_not_left(database_url: str) -> None:
    async with NumberedContainer() as container, GatewayProcess(database_url, QUICK).run() as gateway:
        await gateway.register(container.url)
        followers = gateway.app[FOLLOWERS]
        await followers.connected("demo")
        followers._thorough_at = 0.0
        followers.follow("demo")
        await eventually(lambda: followers._thorough_at > 0.0)
        assert followers.held() == ["demo"]
        assert len(container.asked) == 1


async def test_a_directory_for_files_that_is_none_is_named(database_url: str, tmp_path: object) -> None:
    events = attrs.evolve(QUICK.events, spool_dir=f"{tmp_path}/missing")
    with pytest.raises(ConfigError, match=r"events\.spool_dir"):
        async with GatewayProcess(database_url, attrs.evolve(QUICK, events=events)).run():
            raise AssertionError("it runs")
