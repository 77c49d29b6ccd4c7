"""Every test also looks for leaks: what it had sealed or configured as secret is in nothing that it logged or said.

A secret counts once the vault has sealed it, a gateway was configured with it, or an API token was made, so that tests
need not know of this. All packages log at debug meanwhile, not the gateway's alone.
"""

import logging
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import pytest

from gateway.credentials.vault import Vault
from gateway.identity.sign_ins import SignIns
from gateway.identity.tokens import Tokens

#: What is shorter may stand anywhere by chance, in tests that are not about secrets.
LEAST = 12


class _Ear(logging.Handler):
    """Keeps what was logged, fields and errors too, as any formatter may show them."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = f"{record.getMessage()} {vars(record)}"
        if record.exc_info:
            text += "".join(traceback.format_exception(*record.exc_info))
        self.heard.append(text)


_EAR = _Ear()
_KNOWN: set[str] = set()


def know(secret: str) -> None:
    if len(secret) >= LEAST:
        _KNOWN.add(secret)


def know_config(value: Any) -> None:
    """All settings that show themselves in no ``repr``; of a database's URL only its password is secret."""
    for field in attrs.fields(type(value)):
        setting = getattr(value, field.name)
        if attrs.has(type(setting)):
            know_config(setting)
        elif isinstance(setting, str) and not field.repr:
            know(setting.partition("@")[0].rpartition(":")[2] if "://" in setting else setting)


@pytest.fixture(autouse=True, scope="session")
def _watch_for_leaks() -> Iterator[None]:
    """Learn of secrets where they are made."""
    with pytest.MonkeyPatch.context() as patch:
        _learn(patch, Vault, "seal_with", lambda arguments, _: know(arguments[2].decode(errors="replace")))
        _learn(patch, Vault, "open", lambda _, plaintext: know(plaintext.decode(errors="replace")))
        _learn_later(patch, Tokens, "create", lambda made: know(made[1]))
        _learn_later(patch, SignIns, "issue", know)
        _learn_later(patch, SignIns, "exchange", lambda made: made and (know(made.text), know(made.cookie)))
        root = logging.getLogger()
        level = root.level
        root.setLevel(logging.DEBUG)
        root.addHandler(_EAR)
        yield
        root.removeHandler(_EAR)
        root.setLevel(level)


def _learn(patch: pytest.MonkeyPatch, owner: type, name: str, learn: Callable[[Any, Any], None]) -> None:
    original = getattr(owner, name)

    def watched(*arguments: Any) -> Any:
        result = original(*arguments)
        learn(arguments, result)
        return result

    patch.setattr(owner, name, watched)


def _learn_later(patch: pytest.MonkeyPatch, owner: type, name: str, learn: Callable[[Any], None]) -> None:
    original = getattr(owner, name)

    async def watched(*arguments: Any, **options: Any) -> Any:
        result = await original(*arguments, **options)
        learn(result)
        return result

    patch.setattr(owner, name, watched)


def begin() -> None:
    """A test begins: what the ones before it kept secret is none of its affair."""
    _EAR.heard.clear()
    _KNOWN.clear()


def found(report: pytest.TestReport) -> str | None:
    """Which secrets of the test that ends here are where nothing secret may be; None where none is."""
    said = "".join(content for header, content in report.sections if "log" not in header)
    lines = [line for line in (*_EAR.heard, said) if any(secret in line for secret in _KNOWN)]
    if not lines:
        return None
    shown = "\n".join(line[:2000] for line in lines[:5])
    return f"a secret was logged or printed, in {len(lines)} places; the first of them:\n{shown}"
