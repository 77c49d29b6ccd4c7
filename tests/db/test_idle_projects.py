"""What a gateway looks for again and again costs nothing for projects that have nothing to do, however many."""

from collections.abc import Iterator
from typing import Any

import psycopg2
import pytest

from gateway.db.queries import Queries

PROJECTS = 3_000
#: Of the one project that is busy: what its session has behind it, and how many sessions have ended.
TURNS = 3_000
#: Rows and index entries that a look may read.
FEW = 200

IDLE = """
insert into projects (id, owner_id, name, container_url)
    select 'p' || n, 'local', '', 'http://127.0.0.1:4096' from generate_series(0, %(projects)s) n;
insert into log_heads (project_id, log, head, growing) select id, 'acp', 50, id = 'p0' from projects;
insert into log_storage (project_id, log, seen_at, looked_at)
    select id, 'acp', now() - interval '1 day',
        now() - case when id < 'p1' then interval '1 hour' else interval '1 second' end
    from projects;
insert into follower_leases (project_id, holder, fence, expires_at, wanted)
    select id, '', 1, now() - interval '1 hour', false from projects where id <> 'p0';
insert into agent_sessions (project_id, id, user_id, agent_id, status, container_session_id)
    select id, 's', 'local', 'demo', case id when 'p0' then 'active' else 'ended' end, 'c' from projects;
insert into agent_sessions (project_id, id, user_id, agent_id, status)
    select 'p0', 'old' || n, 'local', 'demo', 'ended' from generate_series(1, %(turns)s) n;
insert into session_activity
    select project_id, id, row_number() over (order by id = 's' desc), now() from agent_sessions;
insert into turns (project_id, id, session_id, user_id, state, started_at, ended_at, folded, before_seq,
        container_turn_id)
    select 'p0', 't' || n, 's', 'local', 'completed', now() - interval '1 day', now() - interval '1 day', true, n,
        'c' || n
    from generate_series(1, %(turns)s) n;
insert into turns (project_id, id, session_id, user_id, state, started_at, ended_at, folded, before_seq)
    select id, 'last', 's', 'local', 'completed', now() - interval '1 day', now() - interval '1 day', true, 1
    from projects;
insert into turns (project_id, id, session_id, user_id, state, before_seq)
    values ('p0', 'now', 's', 'local', 'running', 1);
"""

HELD = {"project_ids": ["p0"]}
SESSION = {"project_id": "p0", "session_id": "s"}
FOUND = {**SESSION, "container_turn_id": "c7", "unnamed": True}
NONE_READ: dict[str, Any] = {"read_projects": [], "read_logs": []}
NONE_KNOWN: dict[str, Any] = {"known_projects": [], "known_logs": []}
LEASE = {"holder": "h", "seconds": 60.0, "asked": [], "limit": 500}

#: Each with what it is given; the name of a statement may stand twice.
LOOKS: list[tuple[str, dict[str, Any]]] = [
    ("acquire_leases", {**LEASE, "everything": False}),
    ("acquire_leases", {**LEASE, "everything": True}),
    ("discard_stale_sessions", {}),
    ("claim_withdrawals", {"seconds": 30.0, "limit": 20}),
    ("list_projects_to_follow", HELD),
    ("list_recorded", {"logs": ["opencode"], "held": ["p0"], **NONE_READ, **NONE_KNOWN}),
    ("forget_unwanted_leases", {}),
    ("get_heads", {**HELD, "logs": ["acp"]}),
    ("settle_logs", {"least": 100}),
    ("list_logs_to_pack", {"least": 100, "seconds": 60}),
    ("claim_logs_to_look_at", {}),
    ("claim_logs_with_rule", {}),
    ("list_unfolded_sessions", {}),
    ("list_deleted_projects", {}),
    ("turns_to_begin", HELD),
    ("turns_to_drive", {**HELD, "gateway_id": "g"}),
    ("expired_permissions", HELD),
    ("answers_to_bring", HELD),
    ("find_turn", FOUND),
    ("find_turn", {**FOUND, "container_turn_id": "nobody's"}),
    ("list_unfolded_turns", SESSION),
    ("open_turns", SESSION),
    ("list_sessions", {"project_id": "p0", "after": None, "limit": 20, "include_ended": False}),
    ("list_sessions", {"project_id": "p0", "after": None, "limit": 20, "include_ended": True}),
    ("end_session", {"project_id": "p0", "id": "s"}),
    ("turns_with_gaps", {"project_id": "p0", "turn_id": None}),
]


@pytest.fixture
def connection(database_url: str) -> Iterator[Any]:
    connection = psycopg2.connect(database_url)
    connection.autocommit = True
    yield connection
    connection.close()


def read_so_far(cursor: Any) -> dict[str, int]:
    """Rows read by scans of each table, and entries read of each index."""
    cursor.execute("select pg_stat_force_next_flush()")
    cursor.execute("select pg_stat_clear_snapshot()")
    cursor.execute(
        "select relname, coalesce(seq_tup_read, 0) from pg_stat_user_tables "
        "union all select indexrelname, coalesce(idx_tup_read, 0) from pg_stat_user_indexes"
    )
    return dict(cursor.fetchall())


def test_no_look_reads_more_where_there_are_many_idle_projects_and_old_turns(connection: Any) -> None:
    queries = Queries.load()
    too_much = {}
    with connection.cursor() as cursor:
        cursor.execute(IDLE, {"projects": PROJECTS, "turns": TURNS})
        cursor.execute("analyze")
        for name, params in LOOKS:
            before = read_so_far(cursor)
            queries[name].check(params)
            cursor.execute(queries[name].sql, params or None)
            after = read_so_far(cursor)
            read = {table: count - before.get(table, 0) for table, count in after.items()}
            if sum(read.values()) > FEW:
                too_much[name, str(params)] = {table: count for table, count in read.items() if count}
    assert too_much == {}


def test_a_scan_of_all_projects_would_be_seen(connection: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(IDLE, {"projects": PROJECTS, "turns": TURNS})
        before = read_so_far(cursor)
        cursor.execute("select count(*) from follower_leases where expires_at <= now()")
        assert read_so_far(cursor)["follower_leases"] - before["follower_leases"] >= PROJECTS
