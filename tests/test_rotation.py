"""``acp-gateway key …`` as an operator runs it, beside gateways that run."""

import json
import os
import signal
import stat
from pathlib import Path

import attrs
import pytest

from gateway.config.schema import VaultConfig
from gateway.credentials.keyring import Key, read_file
from gateway.credentials.room import CREDENTIALS
from gateway.credentials.store import OAUTH, Credentials
from tests.db.things import ask
from tests.fakes.eventually import eventually
from tests.operator import Operator
from tests.program import Place, run, run_to_end
from tests.world import QUICK, GatewayProcess


@pytest.fixture
def operator(tmp_path: Path, database_url: str) -> Operator:
    environ = {
        "ACP_GATEWAY_DATABASE_URL": database_url,
        "ACP_GATEWAY_VAULT_KEY_FILE": str(tmp_path / "vault.keys"),
    }
    return Operator(tmp_path, environ)


async def save(credentials: Credentials, user: str, token: str = "access") -> None:
    await credentials.save_agent_auth_token(user, "codex", token_type=OAUTH, access_token=token, refresh_token="r")


def test_new_makes_the_file_closed_to_others_and_shows_no_key(operator: Operator) -> None:
    made = operator.key("new")
    assert made.status == 0, made.stderr
    assert stat.S_IMODE(operator.file.stat().st_mode) == 0o600
    ring = read_file(operator.file)
    assert ring.current.id in made.stdout
    assert operator.key("new").status == 0
    assert read_file(operator.file).current == ring.current  # the second seals nothing yet
    assert operator.listed() == [(True, 0), (False, 0)]
    shown = made.stdout + operator.key("list").stdout + operator.key("rotate").stdout
    for key in read_file(operator.file):
        assert key.line().partition(":")[2] not in shown
        assert key.id in shown


async def test_rotate_seals_everything_again_while_a_gateway_runs_which_then_seals_with_the_new_key(
    operator: Operator, database_url: str
) -> None:
    operator.key("new")
    config = attrs.evolve(QUICK, vault=VaultConfig(key_file=str(operator.file)))
    async with GatewayProcess(database_url, config).run() as gateway:
        credentials = gateway.app[CREDENTIALS].store
        for number in range(30):
            await save(credentials, f"user-{number}")
        operator.key("new")
        rotated = operator.key("rotate")
        assert rotated.status == 0, rotated.stderr
        assert "sealed again  30" in rotated.stdout
        assert operator.listed() == [(False, 0), (True, 30)]
        await save(credentials, "one-more")
        assert operator.listed() == [(False, 0), (True, 31)]
        for user in ("user-0", "one-more"):
            token = await credentials.get_agent_auth_token(user, "codex")
            assert token is not None
            assert credentials.open_access_token(token) == "access"
        assert gateway.app[CREDENTIALS].vault.current_key_id == read_file(operator.file).newest.id


async def test_a_rotation_that_was_killed_goes_on_where_it_was(operator: Operator, database_url: str) -> None:
    operator.key("new")
    config = attrs.evolve(QUICK, vault=VaultConfig(key_file=str(operator.file)))
    async with GatewayProcess(database_url, config).run() as gateway:
        await save(gateway.app[CREDENTIALS].store, "user")
        first = read_file(operator.file).current.id
        # Many rows of the same bytes: each does open at its own place only, and these take their time to be looked at.
        for number in range(1500):
            await save(gateway.app[CREDENTIALS].store, f"user-{number}")
        operator.key("new")
        counting = f"select count(*) from agent_auth_tokens where key_id <> '{first}'"
        with run("key", "rotate", directory=operator.directory, environ=operator.environ) as rotating:
            await eventually(lambda: ask(database_url, counting)[0][0] > 50, within=30)
            os.kill(rotating.process.pid, signal.SIGKILL)
            rotating.wait()
        (moved,) = ask(database_url, counting)[0]
        assert 0 < moved < 1501, "it was to be killed in the middle"
        again = operator.key("rotate")
        assert again.status == 0, again.stderr
        assert f"sealed again  {1501 - moved}" in again.stdout
        assert operator.listed() == [(False, 0), (True, 1501)]


async def test_rotating_twice_changes_nothing_the_second_time(operator: Operator) -> None:
    operator.key("new")
    operator.key("new")
    operator.key("rotate")
    before = operator.file.read_text()
    assert operator.key("rotate").status == 0
    assert operator.file.read_text() == before


def test_rotate_back_to_a_key_by_its_id(operator: Operator) -> None:
    operator.key("new")
    operator.key("new")
    operator.key("rotate")
    first = read_file(operator.file).ids[0]
    assert operator.key("rotate", first).status == 0
    assert read_file(operator.file).current.id == first
    wrong = operator.key("rotate", "k0")
    assert wrong.status == 1
    assert first in wrong.stderr


async def test_a_gateway_without_a_key_that_the_database_needs_names_it_and_a_lost_one_can_be_forgotten(
    operator: Operator, database_url: str
) -> None:
    operator.key("new")
    lost = read_file(operator.file).current.id
    config = attrs.evolve(QUICK, vault=VaultConfig(key_file=str(operator.file)))
    async with GatewayProcess(database_url, config).run() as gateway:
        await save(gateway.app[CREDENTIALS].store, "ann")
        await gateway.register("http://127.0.0.1:1", containerToken="secret")
    refused_to_forget = operator.key("forget", lost)
    assert refused_to_forget.status == 1
    assert operator.listed() == [(True, 2)]
    operator.file.unlink()
    gone = run_to_end("serve", "--port", "1", directory=operator.directory, environ=operator.environ)
    assert gone.status == 1
    assert "key new" in gone.stderr
    operator.key("new")
    place = Place.make(operator.directory / "place")
    port = ("--port", str(place.port))
    refused = run_to_end("serve", *port, directory=operator.directory, environ=operator.environ)
    assert refused.status == 1
    assert f"'{lost}' is missing" in refused.stderr
    assert "MISSING" in operator.key("list").stdout
    forgotten = operator.key("forget", lost)
    assert "deleted       2 rows" in forgotten.stdout
    assert operator.listed() == [(True, 0)]
    with run("serve", *port, directory=operator.directory, environ=operator.environ) as serving:
        serving.wait_until_says("gateway ")


async def test_another_key_under_a_known_id_stops_the_start_by_its_id(operator: Operator) -> None:
    key = Key.make()
    keys = {"ACP_GATEWAY_VAULT_KEY_FILE": "", "ACP_GATEWAY_VAULT_KEYS": key.line()}
    assert operator.key("rotate", **keys).status == 0
    keys["ACP_GATEWAY_VAULT_KEYS"] = Key(key.id, bytes(32)).line()
    place = Place.make(operator.directory / "place")
    environ = {**operator.environ, **keys}
    refused = run_to_end("serve", "--port", str(place.port), directory=operator.directory, environ=environ)
    assert refused.status == 1
    assert f"'{key.id}' is not the one" in refused.stderr
    assert key.line().partition(":")[2] not in refused.stderr + refused.stdout


def test_keys_from_the_environment_are_changed_there(operator: Operator) -> None:
    one, two = Key("k1", bytes(range(32))), Key("k2", bytes(32))
    keys = {"ACP_GATEWAY_VAULT_KEY_FILE": "", "ACP_GATEWAY_VAULT_KEYS": f"{one.line()},{two.line()}"}
    new = operator.key("new", **keys)
    assert new.status == 1
    assert "openssl rand -base64 32" in new.stderr
    other = operator.key("rotate", "k2", **keys)
    assert other.status == 1
    assert "put a * before k2" in other.stderr
    assert operator.key("rotate", "k2", **{**keys, "ACP_GATEWAY_VAULT_KEYS": f"{one.line()},*{two.line()}"}).status == 0


def test_without_a_key_file_of_ones_own_postgresql_new_says_what_to_configure(operator: Operator) -> None:
    ended = operator.key("new", ACP_GATEWAY_VAULT_KEY_FILE="")
    assert ended.status == 1
    assert "key_file of [vault]" in ended.stderr


def test_up_makes_a_key_beside_its_database_and_key_commands_find_it(open_directory: Path) -> None:
    place = Place.make(open_directory / "keys")
    with place.up() as program:
        assert "vault key" in program.said()
        file = place.data_dir / "vault.keys"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        data = ("--data-dir", str(place.data_dir))
        assert run_to_end("key", "new", *data, directory=place.directory).status == 0
        listed = run_to_end("key", "list", "--json", *data, directory=place.directory)
        assert len(json.loads(listed.stdout)["keys"]) == 2
        program.interrupt()
        program.wait()
    with place.up() as program:
        assert "vault key" not in program.said()
