"""The token of a gateway without identity.modes."""

from pathlib import Path

import attrs

from gateway.cli.local_access import TOKEN_FILE, id_of, read_token, write_token
from gateway.config.schema import Config
from gateway.db.pool import Database
from gateway.identity.caller import LOCAL_USER
from gateway.identity.sign_ins import SignIns
from gateway.identity.tokens import Tokens, new_text


def wants_own_token(config: Config) -> bool:
    return not config.identity.modes


def with_tokens(config: Config) -> Config:
    """The configuration with the mode ``tokens`` if it names none."""
    if not wants_own_token(config):
        return config
    return attrs.evolve(config, identity=attrs.evolve(config.identity, modes=(Tokens.name,)))


async def have_own_token(config: Config, data_dir: Path) -> str:
    """Create a token for the local user if necessary; returns a link that signs a browser in.

    Signs out the browsers of former starts: another program may have listened on the port meanwhile, and have received
    their tokens.
    """
    async with await Database.open(config.database.url, size=1) as database:
        await _keep_token(Tokens(database), data_dir)
        sign_ins = SignIns(database)
        await sign_ins.end_all()
        return await sign_ins.issue(LOCAL_USER)


async def _keep_token(tokens: Tokens, data_dir: Path) -> None:
    kept = read_token(data_dir)
    known = None if kept is None else await tokens.find(kept.text)
    is_good = known is not None and known.flaw() is None and known.user_id == LOCAL_USER
    if kept is not None and kept.is_private and is_good:
        return
    # Tokens that are in no file are revoked, except those of other directories, which belong to other gateways.
    name, text = f"made by serve, in {TOKEN_FILE} of {id_of(data_dir)}", new_text()
    write_token(data_dir, text)
    # The former one is revoked, too: if its file was not private, others may have read it.
    await tokens.replace(LOCAL_USER, name, text, former=known if is_good else None)
