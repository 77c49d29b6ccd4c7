"""Rows under former keys, sealed again while others save and refresh."""

import asyncio

import pytest

from gateway.credentials import resealing
from gateway.credentials.checking import used_keys
from gateway.credentials.keyring import Key, KeyRing, Keys
from gateway.credentials.resealing import reseal
from gateway.credentials.store import API_KEY, OAUTH, Credentials
from gateway.credentials.vault import Sealed, Vault
from gateway.db.pool import Database
from gateway.projects.store import NewProject, Projects
from tests.db.things import ask

ONE, TWO = Key("k1", bytes(range(32))), Key("k2", bytes(32))
FORMER = Vault(Keys(ring=KeyRing([ONE])))
NOW = Vault(Keys(ring=KeyRing([ONE, TWO], "k2")))


async def fill(database: Database, count: int) -> None:
    credentials = Credentials(database, FORMER)
    for number in range(count):
        await credentials.save_agent_auth_token(
            f"user-{number:03}", "codex", token_type=OAUTH, access_token=f"a{number}", refresh_token=f"r{number}"
        )


async def test_everything_is_under_the_current_key_afterwards_and_opens(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resealing, "BATCH", 7)  # pages end in the middle of it
    await fill(database, 20)
    saving = Credentials(database, FORMER)
    given = await saving.save_agent_auth_token("ann", "gemini", token_type=API_KEY, access_token="key")
    before = Projects(database, FORMER)
    secrets = {"container_token": "secret", "opencode_password": "password"}
    await before.create("ann", NewProject(id="own", container_url="http://127.0.0.1:1", **secrets))
    await before.create("ann", NewProject(id="none", container_url="http://127.0.0.1:1"))
    row = {"project_id": "own", "agent_id": "gemini", "user_id": "ann", "version": given.version}
    place = {"container_url": "http://127.0.0.1:1", "acp_url": None}
    key = {name: value for name, value in row.items() if name != "version"}
    await database.execute("agree_to_address", **key, address=place["container_url"])
    await database.execute("give_credential", **row, **place, owner="somebody", gateway_id="gw")
    # A former secret, which a container may run with still.
    await saving.save_agent_auth_token("ann", "gemini", token_type=API_KEY, access_token="newer")
    done = await reseal(database, NOW)
    assert (done.rows, done.unreadable, done.complete) == (24, set(), True)
    assert await used_keys(database) == {"k2": 24}
    only_new = Vault(Keys(ring=KeyRing([TWO])))
    credentials = Credentials(database, only_new)
    for number in range(20):
        token = await credentials.get_agent_auth_token(f"user-{number:03}", "codex")
        assert token is not None
        assert credentials.open_access_token(token) == f"a{number}"
        assert credentials.open_refresh_token(token) == f"r{number}"
    (former,) = await database.fetch_all("given_secrets", project_ids=["own"])
    assert credentials.open_given_secret("ann", "gemini", Sealed(former["sealed_access_token"])) == "key"
    projects = Projects(database, only_new)
    assert projects.container_token(await projects.get("ann", "own")) == "secret"
    assert projects.opencode_authorization(await projects.get("ann", "own")) == "Basic b3BlbmNvZGU6cGFzc3dvcmQ="
    assert (await reseal(database, NOW)).rows == 0


async def test_who_refreshes_meanwhile_with_what_he_read_before_is_not_refused(database: Database) -> None:
    await fill(database, 1)
    credentials = Credentials(database, NOW)
    token = await credentials.get_agent_auth_token("user-000", "codex")
    assert token is not None
    await reseal(database, NOW)
    assert await credentials.replace_tokens(token, "a-new")
    found = await credentials.get_agent_auth_token("user-000", "codex")
    assert found is not None
    assert credentials.open_access_token(found) == "a-new"
    assert credentials.open_refresh_token(found) == "r0"


async def test_what_is_saved_between_reading_and_sealing_again_is_kept(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(database, 3)
    saving = Credentials(database, FORMER)  # a gateway that has not seen the new key yet
    saves = iter(range(3))
    reading = database.fetch_all

    async def read_and_be_overtaken(query: str, /, **params: object) -> object:
        rows = await reading(query, **params)
        if query == "list_sealed_agent_auth_tokens" and rows and (number := next(saves, None)) is not None:
            await saving.save_agent_auth_token(
                f"user-{number:03}", "codex", token_type=OAUTH, access_token="newer", refresh_token="newer"
            )
        return rows

    monkeypatch.setattr(database, "fetch_all", read_and_be_overtaken)
    done = await reseal(database, NOW)
    assert done.complete
    assert await used_keys(database) == {"k2": 3}
    opened = Credentials(database, Vault(Keys(ring=KeyRing([TWO]))))
    for number in range(3):
        token = await opened.get_agent_auth_token(f"user-{number:03}", "codex")
        assert token is not None
        assert opened.open_access_token(token) == "newer"


async def test_saves_and_refreshes_at_the_same_time_lose_nothing(database: Database) -> None:
    await fill(database, 60)
    latest = {f"user-{number:03}": f"a{number}" for number in range(60)}
    over = asyncio.Event()

    async def work(users: list[str]) -> None:
        credentials = Credentials(database, NOW)
        number = 0
        while not over.is_set():
            number += 1
            user = users[number % len(users)]
            token = await credentials.get_agent_auth_token(user, "codex")
            assert token is not None
            assert credentials.open_access_token(token) == latest[user]
            if await credentials.replace_tokens(token, f"new-{number}"):
                latest[user] = f"new-{number}"
            else:
                raise AssertionError("a rotation stood in a refresh's way")

    users = sorted(latest)
    workers = [asyncio.create_task(work(users[index::4])) for index in range(4)]
    done = await reseal(database, NOW)
    over.set()
    await asyncio.gather(*workers)
    assert done.complete
    assert await used_keys(database) == {"k2": 60}
    credentials = Credentials(database, NOW)
    for user, access in latest.items():
        token = await credentials.get_agent_auth_token(user, "codex")
        assert token is not None
        assert credentials.open_access_token(token) == access


async def test_a_row_that_does_not_open_is_told_and_left_and_the_others_are_done(
    database: Database, database_url: str
) -> None:
    await fill(database, 3)
    ask(database_url, "update agent_auth_tokens set sealed_access_token = sealed_refresh_token"
                      " where user_id = 'user-001' returning 1")  # fmt: skip
    done = await reseal(database, NOW)
    assert done.rows == 2
    assert done.unreadable == {("agent_auth_tokens", ("user-001", "codex"))}
    assert done.complete
    assert await used_keys(database) == {"k1": 1, "k2": 2}
