"""Sealed secrets: they open where they belong and nowhere else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.credentials.keyring import Key, KeyRing, Keys
from gateway.credentials.vault import Place, Sealed, Vault
from gateway.errors import SecretUnreadable, VaultKeyMissing, VaultNotConfigured

HERE = Place.of_credential("ann", "claude-code", "access_token")
KEY = Key("k1", bytes(range(32)))
texts = st.text(max_size=20)
places = st.builds(Place, table=texts, row=st.lists(texts, max_size=3).map(tuple), field=texts)


def vault_of(*keys: Key) -> Vault:
    return Vault(Keys(ring=KeyRing(keys) if keys else None))


@given(secret=st.binary(max_size=200), place=places)
def test_what_was_sealed_opens_in_its_place(secret: bytes, place: Place) -> None:
    vault = vault_of(KEY)
    assert vault.open(vault.seal(secret, place), place) == secret


@given(one=places, other=places)
def test_no_two_places_look_the_same(one: Place, other: Place) -> None:
    assert (one == other) == (one.encoded() == other.encoded())


@pytest.mark.parametrize(
    "elsewhere",
    [
        Place.of_credential("bob", "claude-code", "access_token"),
        Place.of_credential("ann", "codex", "access_token"),
        Place.of_credential("ann", "claude-code", "refresh_token"),
        Place(table="projects", row=("ann", "claude-code"), field="access_token"),
        # The same letters, divided otherwise.
        Place.of_credential("annclaude", "-code", "access_token"),
        Place.of_credential("ann", "claude-codeaccess", "_token"),
        Place(table="agent_auth_tokens", row=("ann", "claude-code", "access_token"), field=""),
        Place(table="agent_auth_tokens", row=("ann",), field="claude-code"),
    ],
    ids=str,
)
def test_a_secret_does_not_open_in_another_place(elsewhere: Place) -> None:
    vault = vault_of(KEY)
    with pytest.raises(SecretUnreadable):
        vault.open(vault.seal(b"secret", HERE), elsewhere)


def test_a_secret_with_any_bit_changed_or_cut_anywhere_does_not_open() -> None:
    vault = vault_of(KEY)
    whole = vault.seal(b"secret", HERE).ciphertext
    for index in range(len(whole)):
        for mask in (0x01, 0x80):
            changed = bytearray(whole)
            changed[index] ^= mask
            with pytest.raises((SecretUnreadable, VaultKeyMissing)):
                vault.open(Sealed(bytes(changed)), HERE)
        with pytest.raises((SecretUnreadable, VaultKeyMissing)):
            vault.open(Sealed(whole[:index]), HERE)


@given(st.binary(max_size=80))
def test_bytes_that_are_no_sealed_secret_are_a_clear_error(data: bytes) -> None:
    with pytest.raises((SecretUnreadable, VaultKeyMissing)):
        vault_of(KEY).open(Sealed(data), HERE)


def test_the_same_secret_sealed_twice_looks_different() -> None:
    vault = vault_of(KEY)
    assert vault.seal(b"secret", HERE).ciphertext != vault.seal(b"secret", HERE).ciphertext


def test_the_first_key_seals_and_all_of_them_open() -> None:
    sealed = vault_of(KEY).seal(b"secret", HERE)
    newer = vault_of(Key("k2", bytes(32)), KEY)
    assert newer.seal(b"secret", HERE).key_id == "k2"
    assert newer.open(sealed, HERE) == b"secret"


def test_a_secret_of_a_key_that_is_not_there_names_the_key() -> None:
    sealed = vault_of(KEY).seal(b"secret", HERE)
    with pytest.raises(VaultKeyMissing, match="'k1'"):
        vault_of(Key("k2", bytes(32))).open(sealed, HERE)


def test_another_key_under_the_same_id_opens_nothing() -> None:
    sealed = vault_of(KEY).seal(b"secret", HERE)
    with pytest.raises(SecretUnreadable, match="'k1'"):
        vault_of(Key("k1", bytes(32))).open(sealed, HERE)


def test_without_a_key_nothing_is_sealed_and_the_error_says_how_to_make_one() -> None:
    with pytest.raises(VaultNotConfigured, match="acp-gateway key new"):
        vault_of().seal(b"secret", HERE)


def test_a_fingerprint_tells_secrets_users_and_keys_apart_and_stays() -> None:
    vault = vault_of(KEY)
    prints = {
        vault.fingerprint(b"one", "ann"),
        vault.fingerprint(b"two", "ann"),
        vault.fingerprint(b"one", "bob"),
        vault_of(Key("k1", bytes(32))).fingerprint(b"one", "ann"),
    }
    assert len(prints) == 4
    assert vault.fingerprint(b"one", "ann") in prints
    assert all(len(one) == 8 for one in prints)


def test_no_secret_shows_in_a_repr_or_an_error() -> None:
    vault = vault_of(KEY)
    sealed = vault.seal(b"my secret", HERE)
    assert KEY.line() not in repr(KEY) + repr(KeyRing([KEY])) + repr(vault)
    assert str(KEY.secret) not in repr(KEY)
    assert repr(sealed) == "Sealed()"
    with pytest.raises(SecretUnreadable) as caught:
        vault.open(sealed, Place.of_credential("bob", "x", "access_token"))
    assert caught.value.__cause__ is None
    assert "my secret" not in str(caught.value)
