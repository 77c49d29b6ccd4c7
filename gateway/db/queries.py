"""``queries.sql`` as a mapping from name to statement, so that a reader of the database needs no Python.

A block is ``-- name --`` alone on a line, one or more comment lines that say what the statement is for, and one
statement with psycopg2's ``%(name)s`` parameters; a literal ``%`` is written ``%%``.
"""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import attrs

_NAME = re.compile(r"-- ([a-z][a-z0-9_]*) --")
_PERCENT = re.compile(r"%(?:%|\(([a-z_][a-z0-9_]*)\)s|)")
_LITERAL_OR_COMMENT = re.compile(r"'(?:[^']|'')*'|\"[^\"]*\"|--[^\n]*|/\*.*?\*/", re.DOTALL)
_CALL = re.compile(r"\b([a-z_][a-z0-9_.]*)\s*\(")
_WRITES = re.compile(r"\b(insert|update|delete|merge|into|call|truncate|notify|lock)\b")

# What may stand before "(" in a statement that certainly changes nothing. A function that is missing here makes its
# statement count as a write, which costs no more than a retry.
_HARMLESS = frozenset(
    re.findall(
        r"\w+",
        """
        all and any array array_agg array_length as avg bool_or by cardinality case chr clock_timestamp coalesce
        concat convert_from convert_to count date_trunc distinct else except exists extract filter first_value from
        generate_series greatest in intersect join json_agg jsonb_agg jsonb_build_object lag last_value lateral
        lead least left length limit lower materialized max min not now nullif octet_length on or over position
        rank right row_number select string_agg substring sum then to_char to_json to_timestamp union unnest
        upper using values when where with
        """,
    )
)


class QueryError(ValueError):
    """``queries.sql`` breaks its own rules; ``str()`` names the block."""


class UnknownQuery(LookupError):
    """There is no block with this name in ``queries.sql``."""


@attrs.frozen(kw_only=True)
class Query:
    """One named statement."""

    name: str
    #: What it is for, as its comment says.
    sentence: str
    #: Ready for the driver: ``%%`` is left doubled only where parameters make the driver halve it.
    sql: str = attrs.field(repr=False)
    parameters: frozenset[str]
    #: Whether it certainly changes nothing, so that sending it twice does no harm.
    only_reads: bool

    def check(self, parameters: Mapping[str, object]) -> None:
        """``TypeError`` unless exactly the statement's parameters are given, as for a function's arguments."""
        if parameters.keys() != self.parameters:
            wrong = sorted(parameters.keys() ^ self.parameters)
            raise TypeError(f"query {self.name} takes {sorted(self.parameters)}; missing or unexpected: {wrong}")


class Queries(Mapping[str, Query]):
    """All blocks of a file, by name."""

    def __init__(self, queries: Mapping[str, Query]):
        self._queries = dict(queries)

    @classmethod
    @cache
    def load(cls) -> "Queries":
        """The gateway's own, from ``queries.sql`` beside this module."""
        return cls.parse(Path(__file__).with_name("queries.sql").read_text(encoding="utf-8"))

    @classmethod
    def parse(cls, text: str) -> "Queries":
        """``QueryError`` for a duplicate name, a missing sentence, no or several statements, or a lone ``%``."""
        queries: dict[str, Query] = {}
        for name, lines in _blocks(text):
            if name in queries:
                raise QueryError(f"{name}: this name stands twice")
            queries[name] = _query(name, lines)
        return cls(queries)

    def __getitem__(self, name: str) -> Query:
        try:
            return self._queries[name]
        except KeyError:
            raise UnknownQuery(f"no query {name!r} in queries.sql") from None

    def __contains__(self, name: object) -> bool:
        return name in self._queries

    def __iter__(self) -> Iterator[str]:
        return iter(self._queries)

    def __len__(self) -> int:
        return len(self._queries)


def _blocks(text: str) -> Iterator[tuple[str, list[str]]]:
    name, lines = None, list[str]()
    for line in text.splitlines():
        header = _NAME.fullmatch(line.rstrip())
        if header:
            if name is not None:
                yield name, lines
            name, lines = header[1], []
        elif name is not None:
            lines.append(line)
        elif line.strip() and not line.startswith("--"):
            raise QueryError(f"a statement before the first name: {line.strip()[:60]}")
    if name is not None:
        yield name, lines


def _query(name: str, lines: list[str]) -> Query:
    comment = 0
    while comment < len(lines) and lines[comment].startswith("--"):
        comment += 1
    sentence = " ".join(line.removeprefix("--").strip() for line in lines[:comment]).strip()
    if not sentence:
        raise QueryError(f"{name}: a sentence that says what it is for must follow the name")
    sql = "\n".join(lines[comment:]).strip().removesuffix(";").rstrip()
    bare = _LITERAL_OR_COMMENT.sub(" ", sql)
    if not bare.strip():
        raise QueryError(f"{name}: no statement")
    if ";" in bare:
        raise QueryError(f"{name}: more than one statement")
    marks = list(_PERCENT.finditer(sql))
    if any(mark[0] == "%" for mark in marks):
        raise QueryError(f"{name}: % must be %% or a parameter like %(name)s")
    parameters = frozenset(mark[1] for mark in marks if mark[1])
    return Query(
        name=name,
        sentence=sentence,
        sql=sql if parameters else sql.replace("%%", "%"),
        parameters=parameters,
        only_reads=_only_reads(bare.lower()),
    )


def _only_reads(bare: str) -> bool:
    return (
        bare.lstrip(" (\n").startswith(("select", "with", "values"))
        and not _WRITES.search(bare)
        and all(name in _HARMLESS for name in _CALL.findall(bare))
    )
