"""A credential for one owner's processes of an agent, and how it changes their environment."""

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
    """A credential file, below the directory that a variable names."""

    variable: str
    path: str
    content: str = attrs.field(repr=False)
    #: Octal, as for chmod; for the owner only.
    mode: str = "0600"


@attrs.frozen(kw_only=True)
class AuthenticateCall:
    """ACP's `authenticate`, called after `initialize`."""

    method_id: str
    #: May contain the key itself.
    meta: dict[str, Any] | None = attrs.field(default=None, repr=False)


@attrs.frozen(kw_only=True)
class Credential:
    """One owner's credential. The owner is an opaque name; owners never share a process."""

    owner: str
    #: Increases with each renewal; an older one never replaces a newer one.
    version: int
    env: dict[str, str] = attrs.field(factory=dict, repr=False)
    #: Variables that the process must not have, from any source.
    unset: tuple[str, ...] = ()
    authenticate: AuthenticateCall | None = None
    files: tuple[CredentialFile, ...] = attrs.field(default=(), repr=False)

    def check(self, place: str) -> None:
        """InvalidBody, with the place, if no process can be given this."""
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
        """``env`` with this credential, and without those it replaces."""
        kept = {name: value for name, value in env.items() if name not in self.unset}
        return {**kept, **self.env, **directories}

    @property
    def secrets(self) -> frozenset[str]:
        """The values to mask in errors, logs and events."""
        values = [value for name, value in self.env.items() if is_secret(name)]
        values += [file.content for file in self.files]
        values += _texts(None if self.authenticate is None else self.authenticate.meta)
        return frozenset(secret for value in values for secret in secrets_in(value))

    @property
    def variables(self) -> frozenset[str]:
        """Variables that are kept from commands which the agent runs."""
        return frozenset({*filter(is_secret, self.env), *(file.variable for file in self.files)})


def _check_file(file: CredentialFile, place: str) -> None:
    if not is_name(file.variable):
        raise InvalidBody(f"{place}.variable: {file.variable!r} cannot be a variable's name")
    path = PurePosixPath(file.path)
    if path.is_absolute() or not path.parts or ".." in path.parts or "\0" in file.path:
        raise InvalidBody(f"{place}.path: must be a relative path without ..")
    if not _MODE.fullmatch(file.mode):
        raise InvalidBody(f"{place}.mode: must be octal digits with rights for the owner only, such as 0600")
    if len(file.content) > _TEXT_LIMIT:
        raise InvalidBody(f"{place}.content: must have at most {_TEXT_LIMIT} characters")


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for member in value.values() for text in _texts(member)]
    if isinstance(value, list):
        return [text for item in value for text in _texts(item)]
    return [value] if isinstance(value, str) else []
