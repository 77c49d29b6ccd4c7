"""A credential that a client gives an agent for one owner's processes, and what a process makes of it."""

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

import attrs

from gateway.agenthost.environment import check_variables, is_name, is_secret
from gateway.errors import InvalidBody
from gateway.wire.masking import secrets_in

_OWNER = re.compile(r"[A-Za-z0-9._:@-]{1,200}")
_MODE = re.compile(r"0?[4-7]00")
_TEXT_LIMIT = 256 * 1024


@attrs.frozen(kw_only=True)
class CredentialFile:
    """A file that an agent reads its credential from, below the directory that a variable names."""

    variable: str
    path: str
    content: str = attrs.field(repr=False)
    #: Octal, as chmod takes it; nobody but the owner.
    mode: str = "0600"


@attrs.frozen(kw_only=True)
class AuthenticateCall:
    """ACP's `authenticate`, called after `initialize`."""

    method_id: str
    #: May hold the key itself, where the agent takes it so.
    meta: dict[str, Any] | None = attrs.field(default=None, repr=False)


@attrs.frozen(kw_only=True)
class Credential:
    """All that makes an agent's process one owner's. The owner is opaque: processes of two owners are never one."""

    owner: str
    #: Counts up with each renewal; an older one never takes a newer one's place.
    version: int
    env: dict[str, str] = attrs.field(factory=dict, repr=False)
    #: Variables that the process must not have, wherever they would come from.
    unset: tuple[str, ...] = ()
    authenticate: AuthenticateCall | None = None
    files: tuple[CredentialFile, ...] = attrs.field(default=(), repr=False)

    def check(self, place: str) -> None:
        """InvalidBody with the place of what no process can be given."""
        if not _OWNER.fullmatch(self.owner):
            raise InvalidBody(f"{place}.owner: must have 1 to 200 letters, digits or any of ._:@-")
        if self.version < 0:
            raise InvalidBody(f"{place}.version: must be a whole number from 0")
        check_variables(self.env, f"{place}.env")
        for name in self.unset:
            if not is_name(name):
                raise InvalidBody(f"{place}.unset: {name!r} cannot be a variable's name")
        for index, file in enumerate(self.files):
            _check_file(file, f"{place}.files[{index}]")

    def over(self, env: Mapping[str, str], directories: Mapping[str, str]) -> dict[str, str]:
        """An environment with this credential in it and its rivals gone."""
        kept = {name: value for name, value in env.items() if name not in self.unset}
        return {**kept, **self.env, **directories}

    @property
    def secrets(self) -> frozenset[str]:
        """The values that must not stand in an error, a log or an event."""
        values = [value for name, value in self.env.items() if is_secret(name)]
        values += [file.content for file in self.files]
        values += _texts(None if self.authenticate is None else self.authenticate.meta)
        return frozenset(secret for value in values for secret in secrets_in(value))

    @property
    def variables(self) -> frozenset[str]:
        """Those that commands which the agent has run have no business with."""
        return frozenset({*filter(is_secret, self.env), *(file.variable for file in self.files)})


def _check_file(file: CredentialFile, place: str) -> None:
    if not is_name(file.variable):
        raise InvalidBody(f"{place}.variable: {file.variable!r} cannot be a variable's name")
    path = PurePosixPath(file.path)
    if path.is_absolute() or not path.parts or ".." in path.parts or "\0" in file.path:
        raise InvalidBody(f"{place}.path: must be a relative path without ..")
    if not _MODE.fullmatch(file.mode):
        raise InvalidBody(f"{place}.mode: must be octal digits that let nobody but the owner in, such as 0600")
    if len(file.content) > _TEXT_LIMIT:
        raise InvalidBody(f"{place}.content: must have at most {_TEXT_LIMIT} characters")


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for member in value.values() for text in _texts(member)]
    if isinstance(value, list):
        return [text for item in value for text in _texts(item)]
    return [value] if isinstance(value, str) else []
