"""Lists for people, as tables with headings."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import attrs

from gateway.cli.terminal.text import cell

Row = Mapping[str, Any]


@attrs.frozen
class Column:
    """A column with a row's member ``of``, or what the function ``of`` makes of the row."""

    heading: str
    of: str | Callable[[Row], Any]

    def text(self, row: Row) -> str:
        return cell(row.get(self.of) if isinstance(self.of, str) else self.of(row))


def table(columns: Sequence[Column], rows: Iterable[Row]) -> list[str]:
    """The lines of a table, headings first. Long texts belong in the last column."""
    lines = [[column.heading for column in columns], *([column.text(row) for column in columns] for row in rows)]
    widths = [max(map(len, texts)) for texts in zip(*lines, strict=True)]
    return ["  ".join(map(str.ljust, texts, widths)).rstrip() for texts in lines]
