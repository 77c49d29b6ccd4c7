"""Under which settings statements run, and where connections lead, on PostgreSQL as people run it."""

import asyncio
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from gateway.db.embedded import EmbeddedPostgres
from gateway.db.errors import OutcomeUnknown, Unusable
from gateway.db.migrate import migrate
from gateway.db.parameters import parameters, settings_in
from gateway.db.pool import Database
from tests import postgres
from tests.db.relay import Relay
from tests.db.things import LIMITS, QUERIES, SCHEMA, ask


async def test_a_session_has_the_gateways_limits_and_compiles_nothing(debian_url: str) -> None:
    assert ask(debian_url, "show jit") == [("on",)], "as PostgreSQL has it by default"
    async with await Database.open(debian_url, queries=QUERIES) as database:
        assert await database.fetch_one("limits") == LIMITS


async def test_the_urls_own_options_win(debian_url: str) -> None:
    url = debian_url + "&options=-c%20lock_timeout%3D1234%20--jit%3Don"
    async with await Database.open(url, queries=QUERIES) as database:
        assert await database.fetch_one("limits") == LIMITS | {"jit": "on", "lock": "1234ms"}


@pytest.mark.parametrize("options", ["-c lock_timeout=1", "-clock_timeout=1", "--lock-timeout=1", "-c  Lock_Timeout=1"])
def test_options_are_read_in_each_form_that_postgresql_takes(options: str) -> None:
    assert settings_in(f"-c geqo=off {options}") == {"geqo", "lock_timeout"}


async def test_a_role_that_may_not_quieten_the_log_has_the_limits_all_the_same(debian_url: str) -> None:
    url = debian_url.replace("postgres@", "plain@")
    async with await Database.open(url, queries=QUERIES) as database:
        assert await database.fetch_one("limits") == LIMITS | {"logged": "error"}


def test_several_hosts_mean_the_one_that_takes_writes_unless_the_url_says_otherwise() -> None:
    def attrs_of(url: str) -> str | None:
        return parameters(url, application_name="test").get("target_session_attrs")

    assert attrs_of("postgresql://a/x") is None
    assert attrs_of("postgresql://a,b:5433/x") == "read-write"
    assert attrs_of("postgresql:///x?host=a&hostaddr=127.0.0.1,127.0.0.2") == "read-write"
    assert attrs_of("postgresql://a,b/x?target_session_attrs=any") == "any"


# A primary and its standby


@pytest.fixture(scope="module")
def pair(module_directory: Path, postgres_programs: Path) -> Iterator[tuple[EmbeddedPostgres, EmbeddedPostgres]]:
    """A primary with the table of ``things``, and a standby that has it."""
    primary = postgres.start(module_directory / "primary", postgres_programs)
    ask(primary.url, SCHEMA)
    postgres.copied(primary, module_directory / "standby", postgres_programs)
    standby = postgres.start(module_directory / "standby", postgres_programs)
    yield primary, standby
    standby.stop()
    primary.stop()


def both(first: EmbeddedPostgres, second: EmbeddedPostgres) -> str:
    hosts = ",".join(postgres.socket_of(server.url) for server in (first, second))
    return f"postgresql://postgres@/postgres?host={hosts}"


async def test_with_the_standby_first_in_the_url_the_primary_is_found(
    pair: tuple[EmbeddedPostgres, EmbeddedPostgres],
) -> None:
    primary, standby = pair
    for url in (both(primary, standby), both(standby, primary)):
        async with await Database.open(url, queries=QUERIES) as database:
            assert await database.execute("put", id="a") == 1
            assert await database.execute("take_all") == 1
        migrate(url)
        assert migrate(url) == []


async def test_a_standby_is_said_to_be_one_and_the_next_connection_finds_the_primary(
    pair: tuple[EmbeddedPostgres, EmbeddedPostgres],
) -> None:
    primary, standby = pair
    async with Relay(standby.url) as relay, await Database.open(relay.url, size=3, queries=QUERIES) as database:
        await asyncio.gather(*(database.fetch_one("sleep", seconds=0.05) for _ in range(3)))
        with pytest.raises(Unusable, match="takes no changes") as caught:
            await database.execute("put", id="a")
        assert caught.value.members == {"reason": "read_only"}
        assert list(database.troubles()) == ["read_only"]
        relay.lead_to(primary.url)
        # None of the three that led to the standby is asked again, not even to read.
        assert await database.execute("put", id="a") == 1
        assert await database.fetch_all("ids") == [{"id": "a"}]
        assert await database.execute("take_all") == 1


# A machine that vanishes

_FORWARDER = """
import asyncio, sys
async def pump(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
async def accepted(reader, writer):
    there, back = await asyncio.open_unix_connection(sys.argv[2])
    await asyncio.gather(pump(reader, back), pump(there, writer))
async def main():
    server = await asyncio.start_server(accepted, sys.argv[1], 5432)
    print("ready", flush=True)
    await server.serve_forever()
asyncio.run(main())
"""


@contextmanager
def machine_of_its_own(url: str) -> Iterator[tuple[str, str]]:
    """Another machine, as far as the network knows, that leads to a server: its address, and this end of the cable."""
    number = os.getpid() % 60_000
    cable, network = f"acp{number}", f"10.{200 + number // 16384}.{number // 64 % 256}"
    here, there = (f"{network}.{number % 64 * 4 + end}" for end in (1, 2))
    socket = f"{postgres.socket_of(url)}/.s.PGSQL.5432"
    waits = [
        "unshare",
        "-n",
        "sh",
        "-c",
        'echo; read _; exec "$@"',
        "sh",
        sys.executable,
        "-c",
        _FORWARDER,
        there,
        socket,
    ]
    with subprocess.Popen(waits, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdout.readline()
            inside = ["nsenter", "-t", str(process.pid), "-n"]
            for command in (
                ["ip", "link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", str(process.pid)],
                ["ip", "addr", "add", f"{here}/30", "dev", cable],
                ["ip", "link", "set", cable, "up"],
                [*inside, "ip", "addr", "add", f"{there}/30", "dev", "eth0"],
                [*inside, "ip", "link", "set", "eth0", "up"],
            ):
                subprocess.run(command, check=True)
            process.stdin.write(b"\n")
            process.stdin.flush()
            assert process.stdout.readline() == b"ready\n"
            yield there, cable
        finally:
            subprocess.run(["ip", "link", "delete", cable], check=False)
            process.kill()


def may_make_networks() -> bool:
    if os.geteuid() != 0 or not all(map(shutil.which, ("ip", "unshare", "nsenter"))):
        return False
    name = f"acp{os.getpid() % 60_000}t"
    made = subprocess.run(["ip", "link", "add", name, "type", "veth"], capture_output=True, check=False)
    if made.returncode == 0:
        subprocess.run(["ip", "link", "delete", name], check=True)
    return made.returncode == 0


@pytest.mark.skipif(not may_make_networks(), reason="only root may make a network, with ip, unshare and nsenter")
@pytest.mark.parametrize("awaited", [False, True], ids=["idle", "in the middle of a statement"])
async def test_a_machine_that_vanishes_costs_six_seconds_at_most(things_url: str, awaited: bool) -> None:
    async with Relay(things_url) as relay:
        with machine_of_its_own(things_url) as (address, cable):
            port = urlsplit(relay.url).port
            url = f"postgresql://postgres@{address}:5432,127.0.0.1:{port}{urlsplit(things_url).path}"
            async with await Database.open(url, size=1, queries=QUERIES) as database:
                assert await database.fetch_all("ids") == []
                waiting = asyncio.create_task(database.fetch_one("sleep", seconds=14)) if awaited else None
                await asyncio.sleep(0.2)
                assert relay.accepted == 0
                await asyncio.to_thread(subprocess.run, ["ip", "link", "set", cable, "down"], check=True)
                began = time.monotonic()
                if waiting is not None:
                    with pytest.raises(OutcomeUnknown):
                        await waiting
                assert await database.fetch_all("ids") == []
                assert relay.accepted == 1
                assert time.monotonic() - began < 6
