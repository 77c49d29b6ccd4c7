"""A table and queries for tests of the machinery, which know nothing of the gateway's own schema."""

import time
from collections.abc import Callable
from typing import TypeVar

import psycopg2

from gateway.db.queries import Queries

T = TypeVar("T")

SCHEMA = """
create table owners (id text constraint owners_key primary key);
create table things (
    id text constraint things_key primary key,
    owner text constraint things_owner references owners (id),
    body bytea
);
create function refuse(reason text) returns void language plpgsql as $$
begin
    raise exception 'refused: %', reason using errcode = 'AG042';
end
$$;
"""

QUERIES = Queries.parse("""
-- put --
-- Stores a thing.
insert into things (id) values (%(id)s);

-- put_slowly --
-- Stores a thing after a while.
insert into things (id) select %(id)s from pg_sleep(%(seconds)s);

-- put_of --
-- Stores a thing that refers to its owner.
insert into things (id, owner) values (%(id)s, %(owner)s);

-- put_body --
-- Stores a thing with a body and gives it back.
insert into things (id, body) values (%(id)s, %(body)s) returning body;

-- ids --
-- All there is.
select id from things order by id;

-- take_all --
-- Removes all there is.
delete from things;

-- lock --
-- Holds one thing until the transaction ends.
select id from things where id = %(id)s for update;

-- sleep --
-- Takes its time.
select pg_sleep(%(seconds)s);

-- refuse --
-- Fails in a function of ours.
select refuse(%(reason)s);

-- as_json --
-- Makes jsonb of a text.
select %(text)s::jsonb as value;

-- arrays --
-- What arrays become.
select %(texts)s::text[] as texts, %(bodies)s::bytea[] as bodies, %(numbers)s::bigint[] as numbers;

-- remainder --
-- A text and what is left of a number.
select %(text)s as text, 7 %% 4 as rest;

-- kinds --
-- What other types become.
select null::bytea as nothing, '{"a": [1]}'::jsonb as object, now() as at, 7 %% 4 as rest;

-- limits --
-- What this session works under.
select current_setting('jit') as jit, current_setting('lock_timeout') as lock,
    current_setting('statement_timeout') as statement, current_setting('client_connection_check_interval') as client,
    current_setting('idle_in_transaction_session_timeout') as idle,
    current_setting('log_min_error_statement') as logged;

-- backend --
-- Who serves this connection.
select pg_backend_pid() as pid, current_setting('application_name') as name, current_setting('lock_timeout') as locks;
""")

#: What the query of this name finds in a gateway's session.
LIMITS = {
    "jit": "off",
    "lock": "5s",
    "statement": "15s",
    "client": "1s",
    "idle": "5s",
    "logged": "panic",
}


def ask(url: str, statement: str, **parameters: object) -> list[tuple[object, ...]]:
    """What the statement gives, over a connection of its own that blocks."""
    connection = psycopg2.connect(url)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement, parameters or None)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


def soon(condition: Callable[[], T], *, within: float = 15.0) -> T:
    """What ``condition`` gives as soon as it is true, for tests that have no event loop."""
    deadline = time.monotonic() + within
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not so within {within:g} s"
        time.sleep(0.01)
    return value
