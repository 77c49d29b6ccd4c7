"""Large values on their way to PostgreSQL: in pieces, so that others have their turn between two of them.

The driver writes a value into its statement as text, copies that several times, and hands it to libpq in one go: some
15 times the value's size in memory, and a standstill. In a transaction its pieces can be left over there instead, in
settings that last as long as the transaction does, and the statement puts them together in the value's place.
"""

import base64
from collections.abc import Iterator, Mapping
from typing import Any, Final

import attrs

#: Characters of a text, or bytes, that are written into a statement as they are.
MAX_VALUE: Final = 1_048_576
#: Characters of a piece.
PIECE: Final = 262_144

_LEAVE = "select set_config(%(place)s, %(piece)s, true) is null"


def is_large(params: Mapping[str, Any]) -> bool:
    """Whether a value among these has to be sent in pieces."""
    return any(isinstance(value, str | bytes) and len(value) > MAX_VALUE for value in params.values())


@attrs.frozen(kw_only=True)
class Spread:
    """A statement whose large values are elsewhere, and the statements that put them there before it."""

    sql: str
    params: Mapping[str, Any]
    _large: Mapping[str, str] = attrs.field(repr=False)

    @classmethod
    def of(cls, sql: str, params: Mapping[str, Any]) -> "Spread":
        values = {name: value for name, value in params.items() if is_large({name: value})}
        large = {name: _text(value) for name, value in values.items()}
        for name, text in large.items():
            places = ", ".join(f"current_setting('{_place(name, start)}')" for start in range(0, len(text), PIECE))
            joined = f"array_to_string(array[{places}], '')"
            is_text = isinstance(values[name], str)
            sql = sql.replace(f"%({name})s", joined if is_text else f"decode({joined}, 'base64')")
        rest = {name: value for name, value in params.items() if name not in large}
        # Without parameters the driver takes a statement as it is.
        return cls(sql=sql if rest else sql.replace("%%", "%"), params=rest, large=large)

    def pieces(self) -> Iterator[tuple[str, Mapping[str, str]]]:
        """Statements with their parameters."""
        for name, text in self._large.items():
            for start in range(0, len(text), PIECE):
                yield _LEAVE, {"place": _place(name, start), "piece": text[start : start + PIECE]}


def _text(value: str | bytes) -> str:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


def _place(name: str, start: int) -> str:
    return f"acp_gateway.{name}_{start // PIECE}"
