"""Each route of the API is sent large and hostile requests, while a second client asks for /healthz.

Generated from the route table, so that a new route is tried by itself: its bodies from the type that it takes, its
queries from the parameters that it knows.
"""

import asyncio
import io
import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import attrs
import pytest
from yarl import URL

from gateway.web.handlers.requests import MAX_BODY, NoBody
from gateway.web.routes import ENDPOINTS, Endpoint
from gateway.wire.codec import to_camel
from tests.bounds.limits import baseline, check
from tests.bounds.shapes import (
    SHAPES,
    deep_arrays,
    long_text,
    many_empty_objects,
    many_empty_texts,
    many_escapes,
    many_flawed_rules,
    many_members,
    within,
)
from tests.bounds.trial import Trial, trial
from tests.identity.calls import body_of, described, path_of

#: What a route takes at the most; prompts and what is passed on may be larger.
WITHIN, LARGE = MAX_BODY - 1000, 4_000_000
MAX_ERROR = 16_384
#: Connections of one machine to one route.
AT_ONCE = 100
#: The container's faults, and what this gateway does not have.
ALLOWED = {501, 502, 503, 504}
#: Path parameters that the table has beside those of projects.
NAMES = {"provider_id": "nobody", "ticket": "none", "code": "none", "name": "none.js", "path": "none.js"}
#: Shapes of one member.
MEMBERS = (many_members, deep_arrays, long_text, many_escapes, many_empty_texts, many_flawed_rules)
IN_BODY = ("POST", "PUT", "PATCH")

FIELDS: dict[str, Mapping[str, str]] = {
    "semicolons": {"Content-Type": "application/json" + ";" * 8000},
    "brackets": {"Content-Type": "application/json;" + "(" * 8000},
    "only brackets": {"Content-Type": "(" * 8000},
    "cookies": {"Cookie": "a=;" * 2700},
    "many fields": {f"X-Field-{number}": "f" * 48 for number in range(115)},
    "bearer": {"Authorization": "Bearer " + "a" * 8000},
    "jwt": {"Authorization": "Bearer " + "a." * 4000},
    "basic": {"Authorization": "Basic " + "=" * 8000},
    "encodings": {"Content-Encoding": "gzip," * 1600},
    "origin": {"Origin": "http://" + "a" * 8000},
    "lists": {
        "Accept": "a/b;q=1," * 1000,
        "Accept-Encoding": "gzip;q=1," * 900,
        "If-None-Match": '"a",' * 2000,
        "Prefer": "wait=x;" + ',"' * 4000,
        "Range": "bytes=" + "0-0," * 2000,
        "X-Forwarded-For": "::1," * 2000,
        "Forwarded": "for=a;" * 1300,
    },
    "ids": {
        "Last-Event-ID": "1" * 8000,
        "Idempotency-Key": "k" * 8000,
        "Traceparent": "0-" * 4000,
        "Tracestate": "a=b," * 2000,
        "X-Opencode-Directory": "%2f" * 2700,
        "User-Agent": "u" * 8000,
    },
}
#: For routes without bodies.
FEW_FIELDS = ("many fields", "lists", "ids")


@attrs.frozen(kw_only=True)
class Call:
    name: str
    method: str
    path: str
    body: bytes | None = None
    headers: Mapping[str, str] = attrs.field(factory=dict)
    #: Nothing of the answer is read but its head.
    is_stream: bool = False


@attrs.define
class Ids:
    """A project and a session that exist, for the calls that change or take them away."""

    trial: Trial
    number: int = 0

    async def fresh(self) -> dict[str, str]:
        self.number += 1
        url = self.trial.container.url
        project = await self.trial.gateway.register(url, id=f"p{self.number}", containerUrl=url, defaultAgentId="demo")
        return {"project_id": project.id, "session_id": await project.create_session(), "agent_id": "demo"}


@pytest.fixture
async def tried(database_url: str, tmp_path: Path) -> AsyncIterator[Trial]:
    settings = {
        "ACP_GATEWAY_LIMITS_PROJECTS_PER_USER": "0",
        "ACP_GATEWAY_CONTAINERS_SHARED": "true",
        "ACP_GATEWAY_CONTAINERS_HEADERS_TIMEOUT": "5",
    }
    async with trial(database_url, tmp_path, settings) as running:
        yield running


@pytest.mark.timeout(300)
async def test_no_request_holds_up_others_or_takes_much_memory(
    tried: Trial, record_property: Callable[[str, object], None]
) -> None:
    usual = await baseline(tried)
    ids = Ids(tried)
    held = await ids.fresh()
    wrong: list[str] = []
    for endpoint in sorted(ENDPOINTS, key=lambda one: one.method == "DELETE"):
        for call in calls(endpoint, {**NAMES, **held}):
            if call.method == "DELETE" or call.path.endswith("/prompt"):
                fresh = await ids.fresh()
                call = attrs.evolve(call, path=_with(call.path, held, fresh))
            answer = await _measured(tried, call)
            if answer is not None and (flaw := _flaw(*answer)):
                wrong.append(f"{call.name}: {flaw}")
    check(tried.costs, usual, record_property)
    assert not wrong, "\n".join(wrong)


@pytest.mark.timeout(120)
async def test_many_connections_at_once_hold_up_nobody_and_take_little_memory(
    tried: Trial, record_property: Callable[[str, object], None]
) -> None:
    """Each route that anybody may call, by so many as one machine may have open."""
    usual = await baseline(tried)
    held = await Ids(tried).fresh()
    public = [endpoint for endpoint in ENDPOINTS if endpoint.is_public]
    assert public
    for endpoint in public:
        tried_at_once = {call.name: call for call in calls(endpoint, {**NAMES, **held}) if _is_tried_at_once(call)}
        for call in tried_at_once.values():
            async with tried.measured(f"{call.name}, {AT_ONCE} at once", quiet=0.1) as notes:
                statuses = await asyncio.gather(*(_status(tried, call) for _ in range(AT_ONCE)))
                notes.append(" ".join(sorted(set(map(str, statuses)))))
    check(tried.costs, usual, record_property, at_once=AT_ONCE)


def _is_tried_at_once(call: Call) -> bool:
    return call.name.endswith((" query of many names", " bearer", " many fields", " many_members"))


async def _status(tried: Trial, call: Call) -> int | None:
    """Over a connection of its own; None where it was closed before it was answered."""
    headers = {**({"Content-Type": "application/json"} if call.body else {}), **call.headers}
    async with aiohttp.ClientSession(headers=headers) as http:
        try:
            async with http.request(
                call.method,
                URL(tried.gateway.url + call.path, encoded=True),
                data=call.body,
                allow_redirects=False,
            ) as response:
                await response.read()
                return response.status
        except aiohttp.ClientConnectionError:
            return None


def calls(endpoint: Endpoint, ids: dict[str, str]) -> Iterator[Call]:
    path, name = path_of(endpoint, **ids), described(endpoint)
    takes_body = endpoint.method in (*IN_BODY, "*")
    method = "POST" if endpoint.method == "*" else endpoint.method
    common: dict[str, Any] = {"method": method, "is_stream": endpoint.is_stream}
    for query, text in queries(endpoint):
        yield Call(name=f"{name} query of {query}", path=f"{path}?{text}", **common)
    for parameter in re.findall(r"\{(\w+)", endpoint.path):
        for value in ("a" * 7000, "%2e%2f%00%ff" * 580):
            yield Call(name=f"{name} long {parameter}", path=path_of(endpoint, **ids | {parameter: value}), **common)
    usual = dict(body_of(endpoint, method) or {})
    sent = within(usual, "more", b"{}") if takes_body else None
    for kind in FIELDS if takes_body else FEW_FIELDS:
        yield Call(name=f"{name} {kind}", path=path, headers=FIELDS[kind], body=sent, **common)
    if takes_body:
        for what, body in bodies(endpoint, usual):
            yield Call(name=f"{name} {what}", path=path, body=body, **common)


def queries(endpoint: Endpoint) -> Iterator[tuple[str, str]]:
    yield "many names", "&".join(f"q{number}=" for number in range(1000))
    yield "empty pairs", "&" * 7000
    known = sorted(endpoint.query)
    if known:
        yield "long values", "&".join(f"{name}={'9' * (7000 // len(known))}" for name in known)
        yield "one name", "&".join([f"{known[0]}=1"] * (7000 // (len(known[0]) + 3)))


def bodies(endpoint: Endpoint, usual: dict[str, Any]) -> Iterator[tuple[str, bytes]]:
    """Each shape as the body, and as each member of what the route takes."""
    for shape in SHAPES:
        yield f"{shape.__name__}", shape(WITHIN)
    for shape in (long_text, many_members, many_empty_objects):
        yield f"{shape.__name__}, large", shape(LARGE)
    if endpoint.body in (None, NoBody):
        return
    for field in attrs.fields(endpoint.body):
        member = to_camel(field.name)
        for shape in MEMBERS:
            yield f"{member}: {shape.__name__}", within(usual, member, shape(WITHIN - 500))
        if member == "prompt":
            for shape in SHAPES:
                yield f"{member}: {shape.__name__}, large", within(usual, member, shape(LARGE))


def _with(path: str, held: Mapping[str, str], fresh: Mapping[str, str]) -> str:
    for name, value in held.items():
        path = path.replace(f"/{value}", f"/{fresh[name]}", 1)
    return path


async def _measured(tried: Trial, call: Call) -> tuple[int, bytes] | None:
    """The answer; None where the connection was closed before all had been sent."""
    async with tried.measured(call.name, quiet=0.0) as notes:
        try:
            async with (
                asyncio.timeout(20),
                tried.gateway.http.request(
                    call.method,
                    URL(tried.gateway.url + call.path, encoded=True),
                    data=None if call.body is None else io.BytesIO(call.body),
                    headers={**({"Content-Type": "application/json"} if call.body else {}), **call.headers},
                    allow_redirects=False,
                ) as response,
            ):
                is_open = call.is_stream and response.status == 200
                answer = response.status, b"" if is_open else await response.read()
        except aiohttp.ClientConnectionError:
            notes.append("closed")
            # What is far too large is refused while it is under way; all else is answered.
            assert call.body is not None, call.name
            assert len(call.body) > MAX_BODY, call.name
            return None
        notes.append(str(answer[0]))
        # The watcher gets its turn, too.
        await asyncio.sleep(0.01)
        return answer


def _flaw(status: int, body: bytes) -> str | None:
    if status >= 500 and status not in ALLOWED:
        return f"{status}: {body[:300]!r}"
    if status >= 400 and len(body) > MAX_ERROR:
        return f"{status} with {len(body)} bytes"
    return None
