"""Database over a real PostgreSQL: what callers can rely on."""

import asyncio
import json
import logging
import traceback
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pytest

from gateway.db import pool
from gateway.db.errors import (
    ForeignKeyViolation,
    OutcomeUnknown,
    QueryTimeout,
    RaisedByDatabase,
    StatementFailed,
    UniqueViolation,
    UnstorableText,
)
from gateway.db.pieces import MAX_VALUE, PIECE
from gateway.db.pool import Database, Transaction
from gateway.db.sending import send
from gateway.errors import ConfigError, DatabaseUnavailable
from tests.db.conftest import Run
from tests.db.things import QUERIES, ask
from tests.fakes.eventually import eventually


def stored(url: str) -> list[object]:
    return [row[0] for row in ask(url, "select id from things order by id")]


def backends(url: str) -> int:
    """How many connections the database has beside the one that asks."""
    [[number]] = ask(
        url, "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
    )
    assert isinstance(number, int)
    return number


async def test_a_statement_is_named_and_gives_rows_by_column(things: Database) -> None:
    assert await things.execute("put", id="a") == 1
    assert await things.execute("put", id="b") == 1
    assert await things.fetch_all("ids") == [{"id": "a"}, {"id": "b"}]
    assert await things.fetch_one("ids") == {"id": "a"}
    assert await things.execute("take_all") == 2
    assert await things.fetch_one("ids") is None


async def test_a_statement_with_the_wrong_parameters_is_not_sent(things: Database) -> None:
    with pytest.raises(TypeError, match="put takes"):
        await things.execute("put", name="a")


async def test_bytes_come_back_as_the_bytes_they_were(things: Database) -> None:
    every = bytes(range(256)) * 3
    assert await things.fetch_one("put_body", id="a", body=every) == {"body": every}
    assert await things.fetch_one("put_body", id="b", body=b"") == {"body": b""}


LARGE = MAX_VALUE + 2 * PIECE + 1


async def test_a_large_value_comes_back_as_it_was(things: Database) -> None:
    body, text = bytes(range(256)) * (LARGE // 256), "a'\\\\%s %(id)s ü🙂" * (LARGE // 10)
    assert await things.fetch_one("put_body", id="a", body=body) == {"body": body}
    assert await things.fetch_one("remainder", text=text) == {"text": text, "rest": 3}
    assert await things.fetch_one("as_json", text=json.dumps([text])) == {"value": [text]}

    async def twice(transaction: Transaction) -> None:
        # The second is shorter than the first, and has nothing of it.
        for name, size in (("b", LARGE + 1), ("c", LARGE)):
            assert await transaction.fetch_one("put_body", id=name, body=bytes(size)) == {"body": bytes(size)}

    await things.transaction(twice)


async def test_a_large_value_is_never_sent_at_once(things: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[int] = []

    async def watched(connection: Any, sql: str, params: Mapping[str, Any], limit: float) -> Any:
        sent.append(sum(len(value) for value in params.values() if isinstance(value, str | bytes)))
        return await send(connection, sql, params, limit)

    monkeypatch.setattr(pool, "send", watched)
    await things.execute("put_body", id="a", body=bytes(LARGE))
    assert len(sent) > LARGE // PIECE
    assert max(sent) < PIECE + 100


async def test_a_large_value_that_breaks_a_rule_leaves_nothing(things: Database, things_url: str) -> None:
    await things.execute("put_body", id="a", body=b"")
    with pytest.raises(UniqueViolation):
        await things.execute("put_body", id="a", body=bytes(LARGE))
    assert ask(things_url, "select octet_length(body) from things") == [(0,)]


async def test_a_connection_that_has_brought_much_is_not_kept(things_url: str) -> None:
    async with await Database.open(things_url, size=1, queries=QUERIES) as database:
        before = await database.fetch_one("backend")
        assert await database.fetch_one("backend") == before
        await database.execute("put_body", id="a", body=bytes(LARGE))
        after = await database.fetch_one("backend")
        assert before is not None
        assert after is not None
        assert after["pid"] != before["pid"]


async def test_lists_go_and_come_as_arrays(things: Database) -> None:
    sent = {"texts": ["a", None, 'q"uo,te\\'], "bodies": [b"\x00\xff", b""], "numbers": [1, None, 2**62]}
    assert await things.fetch_one("arrays", **sent) == sent


async def test_types_come_as_python_has_them(things: Database) -> None:
    row = await things.fetch_one("kinds")
    assert row is not None
    assert (row["nothing"], row["object"], row["rest"]) == (None, {"a": [1]}, 3)
    assert isinstance(row["at"], datetime)
    assert row["at"].tzinfo is not None


@pytest.mark.parametrize("text", ["a\x00b", "half a pair \ud83d"])
async def test_text_that_postgresql_cannot_hold_is_the_callers_mistake(things: Database, text: str) -> None:
    with pytest.raises(UnstorableText) as caught:
        await things.execute("put", id=text)
    assert caught.value.status == 400
    assert await things.fetch_all("ids") == []


async def test_a_nul_in_json_is_the_callers_mistake(things: Database) -> None:
    with pytest.raises(UnstorableText):
        await things.fetch_one("as_json", text=r'"\u0000"')


async def test_a_violated_constraint_is_named(things: Database) -> None:
    await things.execute("put", id="a")
    with pytest.raises(UniqueViolation) as unique:
        await things.execute("put", id="a")
    assert unique.value.constraint_name == "things_key"
    with pytest.raises(ForeignKeyViolation) as foreign:
        await things.execute("put_of", id="b", owner="nobody")
    assert foreign.value.constraint_name == "things_owner"


async def test_what_a_function_of_ours_raises_arrives_with_its_code(things: Database) -> None:
    with pytest.raises(RaisedByDatabase) as caught:
        await things.execute("refuse", reason="too late")
    assert (caught.value.sqlstate, caught.value.message) == ("AG042", "refused: too late")


async def test_an_error_does_not_carry_the_values_of_its_statement(things: Database) -> None:
    secret = "s3" + "cret"  # Not as one word, since a traceback quotes this file too.
    await things.execute("put", id=secret)
    with pytest.raises(UniqueViolation) as unique:
        await things.execute("put", id=secret)
    with pytest.raises(StatementFailed) as failed:
        await things.fetch_one("as_json", text=secret)
    for caught in (unique, failed):
        assert "s3cret" not in "".join(traceback.format_exception(caught.value))


async def test_a_parameter_that_the_driver_cannot_send_is_named_by_its_type(things: Database) -> None:
    with pytest.raises(StatementFailed) as caught:
        await things.execute("put", id={"a": 1})
    assert "can't adapt type 'dict'" in str(caught.value.__cause__)


async def test_a_connection_says_who_it_is_and_the_urls_own_options_win(things_url: str) -> None:
    async with await Database.open(things_url + "&options=-c%20lock_timeout%3D1234", queries=QUERIES) as database:
        row = await database.fetch_one("backend")
    assert row is not None
    assert (row["name"], row["locks"]) == ("acp-gateway", "1234ms")


async def test_a_bad_url_is_refused_without_repeating_it() -> None:
    password = "hunter" + "2"
    with pytest.raises(ConfigError) as caught:
        await Database.open(f"postgresql://user:{password}@host/db?nosuch={password}")
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


# Cancelled callers


async def test_a_cancelled_caller_leaves_at_once_and_its_statement_is_done(things: Database) -> None:
    caller = asyncio.create_task(things.execute("put_slowly", id="a", seconds=0.5))
    await asyncio.sleep(0.1)
    caller.cancel()
    await asyncio.wait((caller,), timeout=0.2)
    assert caller.cancelled()
    assert await things.fetch_all("ids") == []
    await eventually(lambda: not things._tasks)
    assert await things.fetch_all("ids") == [{"id": "a"}]


async def test_a_statement_of_a_caller_cancelled_before_it_began_is_done(things: Database, things_url: str) -> None:
    caller = asyncio.create_task(things.execute("put", id="a"))
    await asyncio.sleep(0)
    caller.cancel()
    await asyncio.wait((caller,))
    await eventually(lambda: stored(things_url) == ["a"])


async def test_a_transaction_of_a_cancelled_caller_is_committed(things: Database, things_url: str) -> None:
    async def work(transaction: Transaction) -> None:
        await transaction.execute("put", id="a")
        await transaction.execute("put_slowly", id="b", seconds=0.3)
        await transaction.execute("put", id="c")

    caller = asyncio.create_task(things.transaction(work))
    await asyncio.sleep(0.1)
    caller.cancel()
    await asyncio.wait((caller,), timeout=0.1)
    assert caller.cancelled()
    await eventually(lambda: stored(things_url) == ["a", "b", "c"])


async def test_a_failure_after_the_caller_left_is_logged(things: Database, caplog: pytest.LogCaptureFixture) -> None:
    await things.execute("put", id="a")
    caller = asyncio.create_task(things.execute("put_slowly", id="a", seconds=0.2))
    await asyncio.sleep(0.05)
    caller.cancel()
    await eventually(lambda: "failed after its caller had left" in caplog.text)
    assert caplog.records[-1].levelno == logging.ERROR


async def test_impatient_callers_do_not_pile_up_backends(things_url: str) -> None:
    async def impatient(database: Database) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await database.fetch_one("sleep", seconds=0.3)

    async with await Database.open(things_url, size=2, acquire_timeout=0.2, queries=QUERIES) as database:
        await asyncio.gather(*(impatient(database) for _ in range(40)))
        assert backends(things_url) <= 2


# Time limits


def test_a_statement_timeout_is_not_a_cancellation(run: Run, things_url: str) -> None:
    async def scenario() -> None:
        async with await Database.open(things_url, size=1, statement_timeout=0.2, queries=QUERIES) as database:
            before = await database.fetch_one("backend")
            with pytest.raises(QueryTimeout) as caught:
                async with asyncio.timeout(5):
                    await database.fetch_one("sleep", seconds=10)
            assert caught.value.headers["Retry-After"]
            assert await database.fetch_one("backend") == before, "the connection stays usable"

    run(scenario())


async def test_waiting_for_a_lock_has_a_limit(things: Database, things_url: str) -> None:
    await things.execute("put", id="a")
    locked, done = asyncio.Event(), asyncio.Event()

    async def hold(transaction: Transaction) -> None:
        await transaction.fetch_one("lock", id="a")
        locked.set()
        await done.wait()

    async with await Database.open(things_url + "&options=-c%20lock_timeout%3D100", queries=QUERIES) as other:
        holder = asyncio.create_task(things.transaction(hold))
        await locked.wait()
        with pytest.raises(QueryTimeout):
            await other.execute("take_all")
        done.set()
        await holder


async def test_a_caller_does_not_wait_for_ever_for_a_connection(things_url: str) -> None:
    async with await Database.open(things_url, size=1, acquire_timeout=0.1, queries=QUERIES) as database:
        busy = asyncio.create_task(database.fetch_one("sleep", seconds=0.5))
        await asyncio.sleep(0.05)
        with pytest.raises(DatabaseUnavailable, match="all connections are busy") as caught:
            await database.fetch_one("ids")
        assert caught.value.headers["Retry-After"]
        await busy


async def test_a_transaction_has_a_limit(things: Database, things_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "TRANSACTION_LIMIT", 0.2)

    async def work(transaction: Transaction) -> None:
        await transaction.execute("put", id="a")
        await asyncio.Event().wait()

    with pytest.raises(QueryTimeout):
        await things.transaction(work)
    assert stored(things_url) == []


# Transactions


async def test_a_transaction_is_seen_whole(things: Database, things_url: str) -> None:
    async def work(transaction: Transaction) -> str:
        await transaction.execute("put", id="a")
        assert stored(things_url) == []
        await transaction.execute("put", id="b")
        return "done"

    assert await things.transaction(work) == "done"
    assert stored(things_url) == ["a", "b"]


async def test_a_transaction_whose_work_raises_never_happened(things: Database, things_url: str) -> None:
    async def work(transaction: Transaction) -> None:
        await transaction.execute("put", id="a")
        raise KeyError("ours")

    with pytest.raises(KeyError, match="ours"):
        await things.transaction(work)
    assert stored(things_url) == []
    assert await things.execute("put", id="a") == 1


async def test_a_transaction_that_ignores_a_failed_statement_is_not_called_committed(
    things: Database, things_url: str
) -> None:
    async def work(transaction: Transaction) -> None:
        await transaction.execute("put", id="a")
        with pytest.raises(UniqueViolation):
            await transaction.execute("put", id="a")

    with pytest.raises(RuntimeError, match="a failed statement in it was ignored"):
        await things.transaction(work)
    assert stored(things_url) == []


async def test_a_transaction_undone_by_a_deadlock_runs_again(things: Database, things_url: str) -> None:
    await things.execute("put", id="a")
    await things.execute("put", id="b")
    both = asyncio.Barrier(2)
    runs = 0

    async def take(first: str, second: str, own: str) -> None:
        async def work(transaction: Transaction) -> None:
            nonlocal runs
            runs += 1
            await transaction.fetch_one("lock", id=first)
            if runs <= 2:
                await both.wait()
            await transaction.fetch_one("lock", id=second)
            await transaction.execute("put", id=own)

        await things.transaction(work)

    await asyncio.gather(take("a", "b", "c"), take("b", "a", "d"))
    assert stored(things_url) == ["a", "b", "c", "d"]
    assert runs > 2  # On a busy machine PostgreSQL now and then undoes both.


async def test_tasks_of_one_transaction_take_turns(things: Database, things_url: str) -> None:
    async def work(transaction: Transaction) -> None:
        await asyncio.gather(*(transaction.execute("put", id=id_) for id_ in "abc"))

    await things.transaction(work)
    assert stored(things_url) == ["a", "b", "c"]


async def test_a_transaction_that_is_over_cannot_be_used(things: Database, things_url: str) -> None:
    async def work(transaction: Transaction) -> Transaction:
        return transaction

    kept = await things.transaction(work)
    with pytest.raises(RuntimeError, match="the transaction is over"):
        await kept.execute("put", id="a")
    assert stored(things_url) == []


# Closing


async def test_closing_lets_work_come_to_its_end(things_url: str) -> None:
    database = await Database.open(things_url, queries=QUERIES)
    caller = asyncio.create_task(database.execute("put_slowly", id="a", seconds=0.3))
    await asyncio.sleep(0.05)
    await database.close()
    assert await caller == 1
    await eventually(lambda: backends(things_url) == 0)


async def test_closing_cuts_off_work_that_does_not_end(things_url: str) -> None:
    database = await Database.open(things_url, queries=QUERIES)
    caller = asyncio.create_task(database.fetch_one("sleep", seconds=10))
    await asyncio.sleep(0.05)
    await database.close(deadline=0.1)
    with pytest.raises(OutcomeUnknown):
        await caller
    # client_connection_check_interval: PostgreSQL notices within a second.
    await eventually(lambda: backends(things_url) == 0, within=5)


async def test_a_closed_database_says_so(things: Database) -> None:
    await things.close()
    with pytest.raises(DatabaseUnavailable, match="stopping"):
        await things.fetch_all("ids")
