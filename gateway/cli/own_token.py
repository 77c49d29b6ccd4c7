"""The token of a gateway whose operator has not said how callers identify themselves."""

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
    """The configuration of a gateway that takes its own token, where nothing else is said."""
    if not wants_own_token(config):
        return config
    return attrs.evolve(config, identity=attrs.evolve(config.identity, modes=(Tokens.name,)))


async def have_own_token(config: Config, data_dir: Path) -> str:
    """Have a token for the local user in its file, and give a link that signs a browser in.

    Browsers that were signed in by a former start are no more: whoever listened on the port in between may have been
    told what they send.
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
    # No token is good that is in no file. Those of other directories belong to other gateways on the same database.
    name, text = f"made by serve, in {TOKEN_FILE} of {id_of(data_dir)}", new_text()
    write_token(data_dir, text)
    # Where the file was not private, others may have read the former one.
    await tokens.replace(LOCAL_USER, name, text, former=known if is_good else None)
