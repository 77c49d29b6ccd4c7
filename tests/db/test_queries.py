"""queries.sql: what a block must look like, and what is said about one that does not."""

import pytest

from gateway.db.queries import Queries, QueryError, UnknownQuery

ONE = """
-- one --
-- Says hello
-- to everybody.
select %(greeting)s || '100%%';
"""


def test_a_block_is_a_name_a_sentence_and_a_statement() -> None:
    query = Queries.parse(ONE)["one"]
    assert query.sentence == "Says hello to everybody."
    assert query.sql == "select %(greeting)s || '100%%'"
    assert query.parameters == {"greeting"}


def test_a_comment_may_stand_before_the_first_block_only() -> None:
    assert set(Queries.parse("-- All of them.\n\n" + ONE)) == {"one"}
    with pytest.raises(QueryError, match="before the first name: select 1"):
        Queries.parse("select 1;\n" + ONE)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("-- a --\n-- S.\nselect 1\n-- a --\n-- S.\nselect 2", "a: this name stands twice"),
        ("-- a --\nselect 1", "a: a sentence"),
        ("-- a --\n-- S.\n", "a: no statement"),
        ("-- a --\n-- S.\nselect 1; select 2;", "a: more than one statement"),
        ("-- a --\n-- S.\nselect 5 % 2", "a: % must be %%"),
        ("-- a --\n-- S.\nselect %s", "a: % must be %%"),
    ],
)
def test_a_malformed_block_is_named(text: str, complaint: str) -> None:
    with pytest.raises(QueryError, match=complaint):
        Queries.parse(text)


def test_a_semicolon_in_a_text_or_a_comment_ends_no_statement() -> None:
    assert "a" in Queries.parse("-- a --\n-- S.\nselect ';' -- one; two\n from t;")


def test_a_percent_sign_is_doubled_in_the_file_whether_or_not_there_are_parameters() -> None:
    assert Queries.parse("-- a --\n-- S.\nselect 5 %% 2")["a"].sql == "select 5 % 2"


def test_an_unknown_name_is_named() -> None:
    with pytest.raises(UnknownQuery, match="no query 'gone'"):
        Queries.parse(ONE)["gone"]


def test_missing_and_unexpected_parameters_are_named() -> None:
    query = Queries.parse(ONE)["one"]
    with pytest.raises(TypeError, match=r"one takes \['greeting'\]; missing or unexpected: \['greeting', 'greting'\]"):
        query.check({"greting": 1})


@pytest.mark.parametrize(
    ("statement", "only_reads"),
    [
        ("select * from t where id = any(%(ids)s)", True),
        ("with a as (select 1) select count(*) from a", True),
        ("select 'insert', \"update\" from t -- delete", True),
        ("select * from append_events(1)", False),
        ("with gone as (delete from t returning *) select * from gone", False),
        ("insert into t values (1)", False),
        ("select nextval('s')", False),
        ("select 1 for update", False),
    ],
)
def test_only_what_certainly_changes_nothing_may_be_sent_twice(statement: str, only_reads: bool) -> None:
    assert Queries.parse(f"-- a --\n-- S.\n{statement}")["a"].only_reads is only_reads


def test_the_gateways_own_queries_are_well_formed() -> None:
    assert Queries.load()
