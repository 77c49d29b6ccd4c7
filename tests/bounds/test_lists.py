"""Each list of the API comes in pages that are bounded in bytes, however much each entry has.

Generated from the route table: a new list fails here until it is said how to fill it.
"""

from datetime import datetime
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import attrs
import pytest
from msgspec import UnsetType

from gateway.container.client import ANSWER, LONG_ANSWER
from gateway.identity.members import MAX_MEMBERS
from gateway.web.routes import ENDPOINTS, TOLD, Endpoint
from gateway.wire.limits import PAGE_BYTES
from gateway.wire.times import timestamp
from tests.db.things import ask
from tests.identity.calls import described, path_of
from tests.world import Gateway

#: Beside its entries a page has little.
SLACK = 65_536
#: A character of four bytes.
WIDE = "\U0001f600"


def lists_of(endpoint: Endpoint) -> list[str]:
    """The members of an endpoint's answer that are lists of objects."""
    shape = endpoint.answers.get(200)
    if endpoint.method != "GET" or not attrs.has(shape):
        return []
    hints = get_type_hints(shape, include_extras=True)
    return [field.name for field in attrs.fields(shape) if _is_list(hints[field.name])]


def _is_list(kind: Any) -> bool:
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _is_list(parts[0])
    if origin in (Union, UnionType):
        return any(_is_list(part) for part in parts if part is not UnsetType)
    return origin is list and attrs.has(parts[0])


_WAITING = (
    "insert into permissions (project_id, id, container_request_id, request_key, session_id, state, tool_call, options)"
    " select 'demo', 'prm_' || n, n::text, n::text, 's', 'waiting',"
    " convert_to(json_build_object('title', repeat('t', 1000000))::text, 'UTF8'), '[]' from generate_series(1, {}) n"
)
#: By the list's route, after the project: what fills it, and how many entries it then has.
FILLINGS: dict[str, tuple[int, str]] = {
    "/api/projects": (
        300,
        "insert into projects (id, owner_id, name, container_url, acp_url, default_agent_id, permission_rules)"
        " select 'p' || n, 'local', repeat(%(wide)s, 200), 'http://' || n || repeat('h', 1900), repeat('a', 2000),"
        " repeat(%(wide)s, 60), (select jsonb_agg(jsonb_build_object('kind', 'switch_mode', 'action', 'reject'))"
        " from generate_series(1, 100)) from generate_series(1, 299) n",
    ),
    "/members": (
        MAX_MEMBERS + 1,
        "insert into project_members (project_id, user_id, role, added_by)"
        " select 'demo', n || repeat(%(wide)s, 190), 'viewer', repeat(%(wide)s, 200)"
        f" from generate_series(1, {MAX_MEMBERS}) n",
    ),
    "/audit": (
        0,
        "insert into audit_entries (project_id, user_id, mode, method, path, outcome, status, request_id)"
        " select 'demo', repeat(%(wide)s, 200), 'token', 'POST', repeat('p', 500), 'done', 200, 'r'"
        " from generate_series(1, 1000) n",
    ),
    "/acp/agents": (
        1000,
        "insert into project_agents (project_id, agent_id, name, description, status, error)"
        " select 'demo', n || repeat('i', 250), repeat(%(wide)s, 1000), repeat(%(wide)s, 1000), 'stopped',"
        " repeat(%(wide)s, 1000) from generate_series(1, 1000) n",
    ),
    "/api/credentials": (
        300,
        "insert into agent_auth_tokens (user_id, agent_id, token_type, sealed_access_token, key_id, scopes, subject,"
        " fingerprint) select 'local', n || repeat('i', 240), 'oauth', '', 'k', array[repeat('s', 20000)],"
        " repeat(%(wide)s, 200), 'f' from generate_series(1, 300) n",
    ),
    "/acp/session": (
        500,
        "with made as ("
        " insert into agent_sessions (project_id, id, user_id, agent_id, status, title, working_directory)"
        " select 'demo', 's' || n, repeat(%(wide)s, 200), repeat('i', 255), 'active', repeat(%(wide)s, 500),"
        " repeat(%(wide)s, 4096) from generate_series(1, 500) n returning id)"
        " insert into session_activity select 'demo', id, row_number() over (), now() from made",
    ),
    "/acp/session/{session_id}/messages": (
        200,
        "insert into agent_session_messages (project_id, session_id, first_seq, last_seq, role, at, updated_at, body)"
        " select 'demo', 's', n, n, 'tool', now(), now(), convert_to(json_build_object('toolCall', json_build_object("
        "'title', n::text, 'rawOutput', repeat('o', 60000)))::text, 'UTF8') from generate_series(1, 200) n",
    ),
    "/acp/session/{session_id}/snapshot": (
        0,
        _WAITING.format(9),
    ),
    "/acp/permission": (
        30,
        _WAITING.format(30),
    ),
}
#: About one thing, with a short list in it: a project's rules, an agent's ways to log in.
SINGLE = {"", "/acp/agents/{agent_id}/auth/status"}


def below(endpoint: Endpoint) -> str:
    return endpoint.path.replace("/api/projects/{project_id}", "")


LISTS = [endpoint for endpoint in ENDPOINTS if lists_of(endpoint) and below(endpoint) not in SINGLE]


def test_lists_of_containers_are_as_large_as_the_answers_that_are_taken_of_them() -> None:
    assert [endpoint for endpoint in ENDPOINTS if endpoint.method == "GET" and TOLD in endpoint.answers.values()]
    assert max(ANSWER.max_bytes, LONG_ANSWER.max_bytes) <= PAGE_BYTES


async def test_each_entry_of_a_page_is_encoded_once(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        await gateway.register(f"http://127.0.0.1:{number + 1}", f"p{number}")
    encoded: list[datetime] = []

    def counting(at: datetime) -> str:
        encoded.append(at)
        return timestamp(at)

    monkeypatch.setattr("gateway.wire.codec.timestamp", counting)
    page = (await gateway.call("GET", "/api/projects")).json["projects"]
    assert len(page) == 5
    # createdAt and updatedAt of each.
    assert len(encoded) == 10


@pytest.mark.parametrize("endpoint", LISTS, ids=described)
async def test_pages_of_a_list_are_bounded_in_bytes_and_have_all_of_it_together(
    gateway: Gateway, database_url: str, endpoint: Endpoint
) -> None:
    assert below(endpoint) in FILLINGS, "how is it filled?"
    count, filling = FILLINGS[below(endpoint)]
    await gateway.register("http://127.0.0.1:9")
    ask(
        database_url,
        "insert into agent_sessions (project_id, id, user_id, agent_id, status)"
        " values ('demo', 's', 'local', 'a', 'ended');"
        " insert into session_activity values ('demo', 's', 0, now())",
    )
    ask(database_url, filling, wide=WIDE)
    path = path_of(endpoint, project_id="demo", session_id="s")
    name, after, found, pages = lists_of(endpoint)[-1], "", 0, 0
    while True:
        query = f"?limit=200{after}" if "limit" in endpoint.query else ""
        answer = await gateway.call("GET", path + query)
        assert answer.status == 200, answer.body[:500]
        assert len(answer.body) <= PAGE_BYTES + SLACK
        page = answer.json
        found, pages = found + len(page[name]) + page.get("omitted", 0), pages + 1
        if page.get("next") is None or "after" not in endpoint.query:
            break
        after = f"&after={page['next']}"
    if count:
        assert found == count
        assert pages > 1 or "after" not in endpoint.query
