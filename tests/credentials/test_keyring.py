"""The key ring: its text, its file, and whether it is the one that the database knows."""

import base64
import os
from pathlib import Path

import pytest

from gateway.config.schema import VaultConfig
from gateway.credentials.checking import check_keys
from gateway.credentials.keyring import Key, KeyRing, Keys, read_file, write_file
from gateway.credentials.store import API_KEY, Credentials
from gateway.credentials.vault import Place, Vault
from gateway.db.pool import Database
from gateway.errors import ConfigError

SECRET = base64.b64encode(bytes(range(32))).decode()
OTHER = base64.b64encode(bytes(32)).decode()
ONE, TWO = Key("k1", bytes(range(32))), Key("k2", bytes(32))
HERE = Place.of_credential("ann", "codex", "access_token")


@pytest.mark.parametrize(
    "text", [f"k1:{SECRET},k2:{OTHER}", f"k1:{SECRET} k2:{OTHER}", f"# x\nk1:{SECRET} # y\n\nk2:{OTHER}\n"]
)
def test_keys_stand_in_lines_or_divided_by_commas_and_the_first_is_current(text: str) -> None:
    ring = KeyRing.parse(text, "here")
    assert ring.current == ONE
    assert list(ring) == [ONE, TWO]


def test_a_key_may_be_in_either_alphabet_of_base64() -> None:
    secret = b"\xfb\xff" * 16
    for encoded in (base64.b64encode(secret), base64.urlsafe_b64encode(secret)):
        assert KeyRing.parse(f"k1:{encoded.decode()}", "here").current.secret == secret


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no key"),
        ("# nothing", "no key"),
        (SECRET, "id:base64"),
        (f"K1:{SECRET}", "id"),
        (f"{'k' * 33}:{SECRET}", "id"),
        (f"-k:{SECRET}", "id"),
        ("k1:" + SECRET[:-4], "30 bytes"),
        ("k1:not base64!", "base64"),
        (f"k1:{SECRET}\nk1:{OTHER}", "line 2: .*twice"),
        (f"*k1:{SECRET}\n*k2:{OTHER}", "line 2: 'k1' has a"),
    ],
)
def test_what_is_no_key_is_named_with_its_place_and_not_quoted(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        KeyRing.parse(text, "here")
    assert SECRET[:20] not in str(caught.value)


def test_a_ring_comes_back_from_its_file_which_others_cannot_read(tmp_path: Path) -> None:
    file = tmp_path / "vault.keys"
    write_file(file, KeyRing([ONE, TWO], "k2"))
    assert list(read_file(file)) == [ONE, TWO]
    assert read_file(file).current == TWO
    assert file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in file.parent.iterdir()] == ["vault.keys"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o602, 0o644])
def test_a_file_that_others_can_read_or_write_is_refused(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "vault.keys"
    write_file(file, KeyRing([ONE]))
    file.chmod(mode)
    with pytest.raises(ConfigError, match="chmod 600"):
        read_file(file)


def test_a_file_that_is_not_there_is_one_sentence_that_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="key new"):
        Keys.load(VaultConfig(key_file=str(tmp_path / "none")))


def test_a_file_and_keys_are_one_too_many(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="both"):
        Keys.load(VaultConfig(key_file=str(tmp_path / "none"), keys=ONE.line()))


def test_a_changed_file_is_read_again_before_the_next_secret_is_sealed(tmp_path: Path) -> None:
    file = tmp_path / "vault.keys"
    write_file(file, KeyRing([ONE]))
    vault = Vault(Keys.load(VaultConfig(key_file=str(file))))
    assert vault.seal(b"x", HERE).key_id == "k1"
    write_file(file, KeyRing([ONE, TWO], "k2"))
    assert vault.seal(b"x", HERE).key_id == "k2"


def test_a_secret_of_a_key_that_another_gateway_was_given_opens_after_one_look_at_the_file(tmp_path: Path) -> None:
    file = tmp_path / "vault.keys"
    write_file(file, KeyRing([ONE]))
    vault = Vault(Keys.load(VaultConfig(key_file=str(file))))
    write_file(file, KeyRing([ONE, TWO]))
    assert vault.open(Vault(Keys(ring=KeyRing([TWO]))).seal(b"x", HERE), HERE) == b"x"


@pytest.mark.parametrize("broken", ["nothing", "open to all", "gone", "another key under the same id"])
def test_a_file_that_becomes_unusable_leaves_the_gateway_with_the_keys_it_has(tmp_path: Path, broken: str) -> None:
    file = tmp_path / "vault.keys"
    write_file(file, KeyRing([ONE]))
    vault = Vault(Keys.load(VaultConfig(key_file=str(file))))
    sealed = vault.seal(b"x", HERE)
    match broken:
        case "nothing":
            file.write_text("")
        case "open to all":
            write_file(file, KeyRing([TWO]))
            file.chmod(0o644)
        case "gone":
            file.unlink()
        case _:
            write_file(file, KeyRing([Key("k1", os.urandom(32))]))
    assert Vault(Keys(ring=KeyRing([ONE]))).open(vault.seal(b"y", HERE), HERE) == b"y"
    assert vault.open(sealed, HERE) == b"x"


async def test_a_key_that_the_database_needs_and_the_ring_has_not_is_named_at_the_start(database: Database) -> None:
    one = Keys(ring=KeyRing([ONE]))
    await check_keys(database, one)
    await Credentials(database, Vault(one)).save_agent_auth_token(
        "ann", "codex", token_type=API_KEY, access_token="secret"
    )
    for keys in (Keys(ring=KeyRing([TWO])), Keys()):
        with pytest.raises(ConfigError, match="'k1' is missing"):
            await check_keys(database, keys)
    await check_keys(database, Keys(ring=KeyRing([TWO, ONE])))


async def test_another_key_under_a_known_id_is_refused_at_the_start_before_anything_is_sealed(
    database: Database,
) -> None:
    await check_keys(database, Keys(ring=KeyRing([ONE])))
    with pytest.raises(ConfigError, match="'k1' is not the one"):
        await check_keys(database, Keys(ring=KeyRing([Key("k1", bytes(32)), TWO])))


async def test_without_a_key_a_database_with_nothing_sealed_is_served(database: Database) -> None:
    await check_keys(database, Keys())
