"""Bad input to every route of the route table: a 4xx that says what is wrong and where, and nothing half done."""

import gzip
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any
from urllib.parse import quote

import attrs
import pytest
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.config.schema import ServerConfig
from gateway.web.handlers import agents, auth, events, members, permissions, projects, sessions, sign_in, tickets
from gateway.web.routes import ENDPOINTS
from tests.fakes.container import FakeContainer
from tests.fakes.eventually import eventually
from tests.handlers.expected import problem, rows
from tests.world import QUICK, Answer, Gateway, GatewayProcess

MAX_BODY = 65536
#: What a project may be set to.
SETTINGS = {
    "retention": "retention?",
    "permissionMode": "mode",
    "permissionRules": "rules",
    "permissionTimeout": "number?",
}
#: What each handler that takes a body takes: a body that is right, and its members with what they take.
#: A handler that is in neither of these tables makes the test of the table fail.
BODIES: Mapping[Any, tuple[dict[str, Any], dict[str, str]]] = {
    projects.create: (
        {"containerUrl": "http://h:4096"},
        {"id": "str?", "name": "str?", "containerUrl": "str", "acpUrl": "str?", "defaultAgentId": "str?", **SETTINGS},
    ),
    projects.update: (
        {},
        {"name": "str", "containerUrl": "str", "acpUrl": "str?", "defaultAgentId": "str?", **SETTINGS},
    ),
    agents.spawn: ({}, {"env": "map?", "workingDirectory": "str?"}),
    agents.stop: ({}, {}),
    sessions.create: (
        {"agentId": "demo"},
        {"agentId": "str?", "workingDirectory": "str?", "title": "str?", "mcpServers": "list?"},
    ),
    sessions.rename: ({"title": "t"}, {"title": "str?"}),
    sessions.prompt: ({"prompt": "say hi"}, {"prompt": "prompt"}),
    sessions.cancel: ({}, {}),
    permissions.answer: ({"granted": False}, {"optionId": "str?", "granted": "bool?"}),
    members.put: ({"role": "viewer"}, {"role": "str"}),
    tickets.issue: ({}, {"sessionId": "str?"}),
    auth.start: ({}, {"flow": "str?", "provider": "str?"}),
    auth.callback: ({"code": "c"}, {"code": "str", "state": "str?", "iss": "str?"}),
    auth.token: ({"token": "k"}, {"token": "str", "tokenType": "str?", "provider": "str?", "expiresAt": "str?"}),
    auth.disconnect: ({}, {}),
    sign_in.leave: ({}, {}),
}
#: A right body is refused by these all the same: in this world there is nothing that it could be about.
NOTHING_TO_DO = {"permission_settled", "credential_refused", "not_found"}
#: What these answer is a page, or somebody else's affair.
ELSEWHERE = {endpoint.handler for endpoint in ENDPOINTS if endpoint.is_public or endpoint.is_passed_on}
ELSEWHERE |= {events.own_transport}
WITHOUT_BODY = {endpoint.handler for endpoint in ENDPOINTS if endpoint.body is None} - ELSEWHERE
#: The query parameters of each handler. Of ``lastEventId`` anything is taken: what is no cursor is told a reset. And
#: whoever needs no ticket may have any.
QUERIES: Mapping[Any, frozenset[str]] = {
    endpoint.handler: endpoint.query - {"lastEventId", "ticket"} for endpoint in ENDPOINTS if endpoint.query
}
#: JSON of each kind, and which kinds of member take it.
VALUES: Mapping[str, tuple[Any, set[str]]] = {
    "null": (None, {"str?", "map?", "list?", "bool?", "number?", "retention?"}),
    "number": (5, {"number?"}),
    "fraction": (0.5, set()),
    "true": (True, {"bool?"}),
    "list": ([1], set()),
    "object": ({"a": 1}, set()),
    "string": ("5", {"str", "str?", "prompt"}),
    "nested": ({"a": [{"b": {}}]}, set()),
}


@attrs.frozen
class Route:
    """One line of the route table, with ids that exist in its place."""

    method: str
    path: str
    handler: Any

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


@attrs.frozen
class World:
    gateway: Gateway
    container: FakeContainer
    database_url: str
    ids: dict[str, str]
    routes: list[Route]

    def address(self, route: Route, **others: str) -> str:
        ids = {name: quote(value, safe="") for name, value in self.ids.items()} | others
        return route.path.format_map(ids)

    async def send(self, route: Route, raw: bytes, headers: Mapping[str, str] | None = None, **ids: str) -> Answer:
        return await self.gateway.call(route.method, self.address(route, **ids), raw=raw, headers=headers)


def our_routes(app: web.Application) -> list[Route]:
    found = []
    for route in app.router.routes():
        assert route.resource is not None
        if route.method != "HEAD" and route.handler not in ELSEWHERE:
            found.append(Route(route.method, route.resource.canonical, route.handler))
    return found


@pytest.fixture
async def world(database_url: str, base_container: FakeContainer) -> AsyncIterator[World]:
    """A gateway that takes small bodies, with a project, a session and a permission request that exist."""
    server = ServerConfig(max_body_bytes=MAX_BODY)
    async with GatewayProcess(database_url, QUICK).configured(server=server).run() as gateway:
        project = await gateway.register(base_container.url, defaultAgentId="demo")
        session = await project.create_session()
        turn = (await project.prompt(session, "say before"))["turnId"]
        async with project.events(session) as stream:
            request = {"requestId": "r1", "toolCall": {}, "options": [{"optionId": "ok", "kind": "allow_once"}]}
            [known] = base_container.sessions
            base_container.emit("permission_request", request, session_id=known)
            asked = json.loads((await stream.until("permission_request"))[-1].data)["data"]
        await eventually(lambda: rows(database_url)["agent_session_messages"] == 2)
        ids = {
            "project_id": "demo",
            "session_id": session,
            "turn_id": turn,
            "permission_id": asked["permissionId"],
            "message_id": "1",
            "number": "0",
            "agent_id": "demo",
            "user_id": "alice",
        }
        yield World(gateway, base_container, database_url, ids, our_routes(gateway.app))


@pytest.fixture
def nothing_is_done(world: World) -> Iterator[None]:
    """Neither the database nor the container has anything more afterwards, or less."""

    def state() -> tuple[Any, ...]:
        calls = [call for call in world.container.requests if call.method != "GET"]
        statuses = {agent.id: agent.status for agent in world.container.agents.values()}
        # That somebody tried is noted.
        stored = {table: count for table, count in rows(world.database_url).items() if table != "audit_entries"}
        return stored, len(calls), list(world.container.sessions), statuses

    before = state()
    yield
    assert state() == before


async def test_the_tables_of_this_test_know_every_route(world: World) -> None:
    unknown = [str(route) for route in world.routes if route.handler not in {*BODIES, *WITHOUT_BODY}]
    assert not unknown, "say in this file what these routes take"
    assert {route.handler for route in world.routes} == {*BODIES, *WITHOUT_BODY}
    placeholders = {name for route in world.routes for name in _placeholders(route.path)}
    assert placeholders == set(world.ids)


async def test_a_right_body_is_taken(world: World) -> None:
    """Without this the others could pass by refusing everything."""
    for route in _with_body(world):
        answer = await world.send(route, json.dumps(BODIES[route.handler][0]).encode())
        assert answer.status < 300 or answer.json["code"] in NOTHING_TO_DO, (str(route), answer.body)


NO_OBJECTS = {
    b"{": "not valid JSON",
    b"\x00": "not valid JSON",
    b"{'a': 1}": "not valid JSON",
    b"{}{}": "not valid JSON",
    b'{"a": NaN}': "not valid JSON",
    b'{"a": 01}': "not valid JSON",
    b'{"a": "\xff\xfe"}': "not valid JSON",
    b'{"a": "\\ud800"}': "not valid JSON",
    b'{"a": "\xed\xa0\x80"}': "not valid JSON",
    b"\xef\xbb\xbf{}": "not valid JSON",
    b"<html>": "not valid JSON",
    b"[" * 5000: "nested too deeply",
    b'{"a":' * 5000: "nested too deeply",
    b"[" * 60000: "too much in it",
    b"[" + b"0," * 20000 + b"0]": "too much in it",
    b"[]": "$: must be an object, not a list",
    b"5": "$: must be an object, not a number",
    b"-1e999": "",
    b'"text"': "$: must be an object, not a string",
    b"null": "$: must be an object, not null",
    b"true": "$: must be an object, not true or false",
    b'{"colour": "red"}': "$.colour: unknown",
    b'{"": 1}': "$.: unknown",
    b'{"\\u0000": 1}': "unknown",
    b'{"__class__": {"a": 1}}': "$.__class__: unknown",
}


@pytest.mark.usefixtures("nothing_is_done")
async def test_a_body_that_is_no_object_of_this_routes_is_refused(world: World) -> None:
    for route in _with_body(world):
        for raw, says in NO_OBJECTS.items():
            answer = await world.send(route, raw)
            problem(answer, 400, "invalid_body", says=says)


@pytest.mark.usefixtures("nothing_is_done")
async def test_a_member_of_the_wrong_type_is_refused_with_its_place(world: World) -> None:
    for route in _with_body(world):
        right, members = BODIES[route.handler]
        for name, kind in members.items():
            for value, takers in VALUES.values():
                if kind not in takers:
                    answer = await world.send(route, json.dumps(right | {name: value}).encode())
                    problem(answer, 400, "invalid_body", says=f"$.{name}")


@pytest.mark.usefixtures("nothing_is_done")
async def test_a_huge_number_is_refused(world: World) -> None:
    for route in _with_body(world):
        for name in BODIES[route.handler][1]:
            for number in ("9" * 5000, "-9223372036854775809", "1e400", "1" * 400 + ".5"):
                answer = await world.send(route, b'{"%b": %b}' % (name.encode(), number.encode()))
                problem(answer, 400, "invalid_body")


@pytest.mark.usefixtures("nothing_is_done")
async def test_text_with_nul_is_refused_with_its_place(world: World) -> None:
    for route in _with_body(world):
        right, members = BODIES[route.handler]
        for name, kind in members.items():
            if kind.startswith("str"):
                answer = await world.send(route, json.dumps(right | {name: "a\0b"}).encode())
                problem(answer, 400, "invalid_body", says=f"$.{name}")


@pytest.mark.usefixtures("nothing_is_done")
async def test_half_a_surrogate_pair_is_refused(world: World) -> None:
    for route in _with_body(world):
        right, members = BODIES[route.handler]
        for name, kind in members.items():
            value: Any = {"str": "\ud800", "map": {"\udc00": "\ud800"}, "list": [{"x": "\ud800"}]}.get(
                kind[:3], "\ud800"
            )
            answer = await world.send(route, json.dumps(right | {name: value}).encode())
            problem(answer, 400, "invalid_body")


@pytest.mark.usefixtures("nothing_is_done")
async def test_a_member_that_comes_twice_is_refused_by_name(world: World) -> None:
    for route in _with_body(world):
        right, members = BODIES[route.handler]
        for name in members:
            value = json.dumps(right.get(name))
            once = ", ".join(f'"{other}": {json.dumps(right[other])}' for other in right if other != name)
            twice = ", ".join([f'"{name}": {value}', *filter(None, [once]), f'"{name}": {value}'])
            answer = await world.send(route, b"{%b}" % twice.encode())
            problem(answer, 400, "invalid_body", says=f"{name}")


@pytest.mark.usefixtures("nothing_is_done")
async def test_a_body_that_is_too_large_is_413(world: World) -> None:
    for route in _with_body(world):
        for raw in (b" " * MAX_BODY + b"{}", json.dumps({"title": "x" * MAX_BODY}).encode()):
            says = f"at most {MAX_BODY} bytes"
            problem(await world.send(route, raw), 413, "body_too_large", says=says)
        chunked = await _send_chunked(world, route, b" " * (MAX_BODY + 1))
        problem(chunked, 413, "body_too_large")


@pytest.mark.usefixtures("nothing_is_done")
async def test_a_body_that_is_not_said_to_be_plain_json_is_415(world: World) -> None:
    for route in _with_body(world):
        right = json.dumps(BODIES[route.handler][0]).encode()
        for content_type in (
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data",
            "*/*",
            "json",
            "",
        ):
            answer = await world.send(route, right, {"Content-Type": content_type})
            problem(answer, 415, "unsupported_media_type", says="application/json")
        for coding, raw in (("gzip", gzip.compress(right)), ("br", right), ("gzip, gzip", right), ("x", right)):
            answer = await world.send(route, raw, {"Content-Encoding": coding})
            problem(answer, 415, "unsupported_media_type", says="compressed")


async def test_json_may_come_with_a_charset_and_without_a_coding(world: World) -> None:
    [route] = [route for route in _with_body(world) if route.handler is sessions.rename]
    for headers in (
        {"Content-Type": "application/json; charset=utf-8"},
        {"Content-Type": "Application/JSON"},
        {"Content-Encoding": "identity"},
    ):
        assert (await world.send(route, b'{"title": "\xc3\xa4"}', headers)).json["title"] == "ä"


async def test_no_body_is_an_empty_object(world: World) -> None:
    for route in _with_body(world):
        right, _ = BODIES[route.handler]
        answer = await world.gateway.call(route.method, world.address(route))
        if right and not (set(right) <= {"agentId"}):
            problem(answer, 400, "invalid_body", says="$")
        else:
            assert answer.status < 300 or answer.json["code"] in NOTHING_TO_DO, (str(route), answer.body)


WRONG_PROMPTS: list[tuple[Any, str]] = [
    ("", "$.prompt: must not be empty"),
    ([], "$.prompt: must not be empty"),
    ([{"type": "text", "text": ""}], "$.prompt: must not be empty"),
    (["text"], "$.prompt[0]: must be an object"),
    ([None], "$.prompt[0]: must be an object"),
    ([{}], "$.prompt[0].type: must be one of text, image, audio, resource_link, resource"),
    ([{"type": 5}], "$.prompt[0].type: must be one of"),
    ([{"type": None}], "$.prompt[0].type: must be one of"),
    ([{"type": ["text"]}], "$.prompt[0].type: must be one of"),
    ([{"type": {"text": "text"}}], "$.prompt[0].type: must be one of"),
    ([{"type": "text"}], "$.prompt[0].text: must be a string"),
    ([{"type": "text", "text": 5}], "$.prompt[0].text: must be a string"),
    ([{"type": "text", "text": "fine"}, {"type": "image", "data": "x"}], "$.prompt[1].mimeType: must be a string"),
    ([{"type": "resource", "resource": []}], "$.prompt[0].resource: must be an object"),
    ([{"type": "resource", "resource": {}}], "$.prompt[0].resource.uri: must be a string"),
    ([{"type": "resource_link", "uri": "file:///a"}], "$.prompt[0].name: must be a string"),
]


@pytest.mark.usefixtures("nothing_is_done")
async def test_a_prompt_that_is_no_content_is_refused_with_its_place(world: World) -> None:
    [route] = [route for route in world.routes if route.handler is sessions.prompt]
    for prompt, says in WRONG_PROMPTS:
        problem(await world.send(route, json.dumps({"prompt": prompt}).encode()), 400, "invalid_body", says=says)


@pytest.mark.usefixtures("nothing_is_done")
async def test_a_body_that_is_nested_too_deeply_is_refused(world: World) -> None:
    for route in _with_body(world):
        for depth in (450, 900, 5000):
            nested = b'{"a":' * depth + b"1" + b"}" * depth
            for raw in (
                b'{"prompt": [{"type": "text", "text": "x", "_meta": %b}]}' % nested,
                b'{"agentId": "demo", "mcpServers": [%b]}' % nested,
                nested,
            ):
                problem(await world.send(route, raw), 400, "invalid_body", says="$: nested too deeply")


@pytest.mark.usefixtures("nothing_is_done")
async def test_content_that_the_container_does_not_take_is_refused(world: World) -> None:
    [route] = [route for route in world.routes if route.handler is sessions.prompt]
    image = {"type": "image", "data": "aGk=", "mimeType": "image/png"}
    answer = await world.send(route, json.dumps({"prompt": [image]}).encode())
    problem(answer, 400, "invalid_body", says="$.prompt: this project's container takes text only")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
async def test_no_body_whatever_is_a_fault_of_the_gateway(world: World, data: st.DataObject) -> None:
    route = data.draw(st.sampled_from(_with_body(world)))
    _, members = BODIES[route.handler]
    body = data.draw(JSON | st.fixed_dictionaries({}, optional=dict.fromkeys(members, JSON)))
    raw = data.draw(st.just(json.dumps(body).encode()) | st.binary(max_size=50))
    answer = await world.send(route, raw)
    if answer.status >= 300:
        problem(answer, answer.status)
        assert answer.status < 500, (str(route), raw, answer.body)


UNKNOWN_IDS = ["nobody", "%00", "a%00b", "a%2Fb", "%2E%2E", "x" * 5000, "%C3%A4", "%ff", "%ED%A0%80", "%F0%9F%98%80",
               "' or 1=1 --".replace(" ", "%20"), "*", "-1", "%0d%0aX:%20y"]  # fmt: skip


@pytest.mark.usefixtures("nothing_is_done")
async def test_an_unknown_id_in_any_place_is_404(world: World) -> None:
    for route in world.routes:
        for name in _placeholders(route.path):
            if route.handler is agents.list_all and name != "project_id":
                continue
            if name == "user_id":
                continue  # whoever adds a member names one that is not there
            for unknown in UNKNOWN_IDS:
                raw = json.dumps(BODIES[route.handler][0]).encode() if route.handler in BODIES else None
                answer = await world.gateway.call(route.method, world.address(route, **{name: unknown}), raw=raw)
                what = name.removesuffix("_id") if name not in {"message_id", "number"} else "content"
                problem(answer, 404, f"{what}_not_found")


ODD_QUERIES: Mapping[str, list[str]] = {
    "limit": ["0", "-1", "201", "1e3", "x", "", "9" * 5000, "%00", "1.5", "%D9%A1", "+1", "%201", "null"],
    "after": ["%00", "-1", "x", "", "9" * 5000, "%ff", "1%20or%201=1", "%F0%9F%98%80"],
    "order": ["ASC", "", "x", "%00", "asc,desc"],
    "format": ["", "JSONL", "md", "html", "%00", "jsonl,markdown", "x" * 5000],
    "includeEnded": ["yes", "1", "%00", "TRUE", "x" * 5000],
    "from": ["", "end", "1", "%00", "START", "x" * 5000],
    "digest": ["", "x", "%00", "A" * 32, "0" * 31, "x" * 5000],
}


@pytest.mark.usefixtures("nothing_is_done")
async def test_an_odd_query_parameter_is_refused_by_name(world: World) -> None:
    for route in world.routes:
        for name in QUERIES.get(route.handler, ()):
            for value in ODD_QUERIES[name]:
                answer = await world.gateway.call(route.method, f"{world.address(route)}?{name}={value}")
                detail = problem(answer, 400, "invalid_parameter", says=f"?{name}=")["detail"]
                assert len(detail) < 300


@pytest.mark.usefixtures("nothing_is_done")
async def test_a_query_parameter_that_comes_twice_is_refused(world: World) -> None:
    for route in world.routes:
        for name in QUERIES.get(route.handler, ()):
            right = {"limit": "5", "order": "asc", "from": "start", "includeEnded": "true"}.get(name, "1")
            answer = await world.gateway.call(route.method, f"{world.address(route)}?{name}={right}&{name}={right}")
            problem(answer, 400, "invalid_parameter", says=f"?{name}=")


@pytest.mark.usefixtures("nothing_is_done")
async def test_an_unknown_query_parameter_is_refused_on_every_route(world: World) -> None:
    for route in world.routes:
        raw = json.dumps(BODIES[route.handler][0]).encode() if route.handler in BODIES else None
        for query in ("colour=red", "&&=&%00=%ff", "limits", "Limit=5"):
            answer = await world.gateway.call(route.method, f"{world.address(route)}?{query}", raw=raw)
            problem(answer, 400, "invalid_parameter", says="unknown here")


def _with_body(world: World) -> list[Route]:
    return [route for route in world.routes if route.handler in BODIES]


def _placeholders(path: str) -> list[str]:
    return [part[1:-1] for part in path.split("/") if part.startswith("{")]


async def _send_chunked(world: World, route: Route, raw: bytes) -> Answer:
    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(raw), 10000):
            yield raw[start : start + 10000]

    gateway = world.gateway
    headers = {"Content-Type": "application/json"}
    async with gateway.http.request(
        route.method, gateway.url + world.address(route), data=pieces(), headers=headers
    ) as response:
        return Answer(status=response.status, headers=response.headers, body=await response.read())


ODD_TYPES = [
    ";" * 8000,
    "b;" * 4000,
    "(" * 8000,
    "a/b;" + "c*0=1;" * 1300,
    "application/jso;" + "a;" * 3900,
    "/" * 8000,
]


@pytest.mark.parametrize("given", ODD_TYPES, ids=lambda given: given[:12])
async def test_a_content_type_of_any_shape_is_one_that_is_not_taken(world: World, given: str) -> None:
    for method, path in (("POST", "/api/sign-in"), ("POST", "/api/projects"), ("POST", "/api/oauth/login/x")):
        answer = await world.gateway.call(method, path, raw=b"{}", headers={"Content-Type": given})
        problem(answer, 415, "unsupported_media_type")
