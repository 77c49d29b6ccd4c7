"""Tickets: an event stream is opened with nothing in the head, once, and come back to by a cookie."""

import logging
from collections.abc import AsyncIterator
from http.cookies import Morsel, SimpleCookie
from typing import Any

import aiohttp
import attrs
import pytest
from aiohttp import web
from yarl import URL

from gateway.identity.stream_tickets import MAX_TICKETS, StreamOf
from gateway.web.keys import CONFIG
from tests.fakes.container import FakeContainer
from tests.identity.conftest import MEMBERS, OPERATOR, OWNER, STRANGER, VIEWER
from tests.identity.tokens import alter
from tests.proxy.peers import serve
from tests.world import PROXIED, Gateway, GatewayProcess, Project


async def ticket(project: Project, session_id: str | None = None) -> Any:
    body = {"sessionId": session_id} if session_id else {}
    answer = await project.call("POST", "/events/ticket", body)
    assert answer.status == 201, answer.body
    assert answer.headers["Cache-Control"] == "no-store"
    return answer.json


async def opened(gateway: Gateway, url: str, cookie: str | None = None) -> tuple[int, Morsel[str] | None]:
    """A stream's status, and the cookie that it gave, asked for as a browser's ``EventSource`` does."""
    headers = {"Cookie": cookie} if cookie else {}
    async with gateway.http.get(gateway.url + url, headers=headers) as response:
        given = SimpleCookie("; ".join(response.headers.getall("Set-Cookie", ())))
        if response.status == 200:
            assert b"event: heartbeat" in await response.content.readline() + await response.content.readline()
        return response.status, next(iter(given.values()), None)


def as_sent(morsel: Morsel[str] | None) -> str:
    assert morsel is not None
    return f"{morsel.key}={morsel.value}"


async def test_a_ticket_opens_its_stream_and_the_cookie_comes_back_to_it(gateway: Gateway, project: Project) -> None:
    for asks in (project, project.as_user(VIEWER)):
        session = await project.create_session()
        for session_id in (None, session):
            got = await ticket(asks, session_id)
            status, cookie = await opened(gateway, got["url"])
            assert status == 200
            assert cookie is not None
            assert cookie["httponly"]
            assert (cookie["samesite"], cookie["path"]) == ("Strict", got["url"].split("?")[0])
            for _ in range(5):
                # A reconnect repeats the URL, whose ticket has been used.
                assert await opened(gateway, got["url"], as_sent(cookie)) == (200, None)


async def test_behind_a_proxy_with_https_the_cookie_is_for_https_alone(gateway: Gateway, project: Project) -> None:
    for proto, secure in (("https", True), ("http", ""), ("", "")):
        url, headers = (await ticket(project))["url"], {"X-Forwarded-Proto": proto}
        async with gateway.http.get(gateway.url + url, headers=headers) as response:
            [cookie] = SimpleCookie(response.headers["Set-Cookie"]).values()
        assert cookie["secure"] == secure


async def test_a_ticket_is_good_once(gateway: Gateway, project: Project) -> None:
    got = await ticket(project)
    assert (await opened(gateway, got["url"]))[0] == 200
    assert (await opened(gateway, got["url"]))[0] == 401


async def test_a_ticket_is_good_for_half_a_minute(gateway: Gateway, project: Project, database_url: str) -> None:
    got = await ticket(project)
    [(seconds,)] = alter(database_url, "select extract(epoch from expires_at - now())::int from stream_passes")
    assert 25 <= seconds <= 30
    alter(database_url, "update stream_passes set expires_at = now() - interval '1 second'")
    assert (await opened(gateway, got["url"]))[0] == 401


async def test_a_pass_opens_its_own_stream_and_nothing_else(gateway: Gateway, project: Project) -> None:
    one, other = await project.create_session(), await project.create_session()
    cookie = as_sent((await opened(gateway, (await ticket(project, one))["url"]))[1])
    second = await project.gateway.register("http://127.0.0.1:1", id="second")
    for path in (
        f"{project.acp}/events/{other}",
        f"{project.acp}/events",
        f"{second.acp}/events",
        f"{project.acp}/session/{one}",
        f"{project.acp}/agents",
        "/api/projects",
        project.path,
        f"{project.path}/opencode/",
    ):
        unused = (await ticket(project, one))["ticket"]
        answer = await gateway.call("GET", f"{path}?ticket={unused}", headers={"Cookie": cookie})
        assert (answer.status, answer.json["code"]) == (401, "unauthenticated"), path
    for elsewhere in (StreamOf.events(project.id, None), StreamOf.events(project.id, other)):
        renamed = f"{elsewhere.cookie}={cookie.partition('=')[2]}"
        assert (await opened(gateway, elsewhere.path, renamed))[0] == 401
    answer = await gateway.call("POST", f"{project.acp}/session", {}, headers={"Cookie": cookie})
    assert answer.status == 401


async def test_a_session_that_is_not_there_has_no_ticket(project: Project) -> None:
    answer = await project.call("POST", "/events/ticket", {"sessionId": "ses_none"})
    assert (answer.status, answer.json["code"]) == (404, "session_not_found")
    stranger = await project.as_user(STRANGER).call("POST", "/events/ticket", {})
    assert (stranger.status, stranger.json["code"]) == (404, "project_not_found")


async def test_a_cookie_opens_nothing_once_its_user_is_no_member(gateway: Gateway, project: Project) -> None:
    url = (await ticket(project.as_user(OPERATOR)))["url"]
    cookie = as_sent((await opened(gateway, url))[1])
    assert (await project.gateway.call("DELETE", f"{project.path}/members/{OPERATOR}")).status == 204
    assert (await opened(gateway, url, cookie))[0] == 404


async def test_what_waits_to_be_used_and_what_a_browser_comes_back_with_are_bounded(
    gateway: Gateway, project: Project, database_url: str
) -> None:
    cookie = None
    for _ in range(3):
        # A page that is loaded again has its cookie still, and gets another ticket.
        cookie = as_sent((await opened(gateway, (await ticket(project))["url"], cookie))[1])
    assert alter(database_url, "select kind from stream_passes") == [("cookie",)]
    for _ in range(MAX_TICKETS):
        await ticket(project)
    refused = await project.call("POST", "/events/ticket", {})
    assert (refused.status, refused.json["code"], refused.headers["Retry-After"]) == (429, "too_many_requests", "30")
    assert (await project.as_user(VIEWER).call("POST", "/events/ticket", {})).status == 201


async def test_passes_are_known_to_every_gateway(
    gateway: Gateway, project: Project, database_url: str, base_container: FakeContainer
) -> None:
    async with GatewayProcess(database_url, PROXIED).run() as other:
        url = (await ticket(project))["url"]
        status, cookie = await opened(other, url)
        assert status == 200
        assert (await opened(gateway, url, as_sent(cookie)))[0] == 200


async def test_neither_is_kept_or_logged_as_it_is(
    gateway: Gateway, project: Project, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    got = await ticket(project)
    cookie = (await opened(gateway, got["url"]))[1]
    refused = await gateway.call("GET", got["url"])
    assert refused.status == 401
    kept = str(alter(database_url, "select p::text from stream_passes p")) + caplog.text + refused.body.decode()
    for secret in (got["ticket"], as_sent(cookie).partition("=")[2]):
        assert secret not in kept


async def test_the_wrong_ticket_of_somebody_who_is_known_otherwise_does_no_harm(project: Project) -> None:
    async with project.events(query="?ticket=nonsense") as stream:
        assert (await stream.block()).event == "heartbeat"


@pytest.fixture
async def both(database_url: str) -> AsyncIterator[Gateway]:
    modes = attrs.evolve(PROXIED.identity, modes=("tokens", "proxy"))
    async with GatewayProcess(database_url, attrs.evolve(PROXIED, identity=modes)).run() as running:
        yield running


async def test_a_stream_lasts_no_longer_than_the_token_that_its_ticket_was_got_with(
    both: Gateway, database_url: str, commands: Any
) -> None:
    made = commands.json("create", "--user", "alice", "--expires", "1h")
    alice = both.sending(Authorization=f"Bearer {made['token']}")
    project = await alice.register("http://127.0.0.1:1")
    url = (await ticket(project))["url"]
    cookie = as_sent((await opened(both, url))[1])
    [(seconds,)] = alter(database_url, "select extract(epoch from max(expires_at) - now())::int from stream_passes")
    assert 3500 < seconds <= 3600
    commands.json("revoke", made["id"])
    assert (await opened(both, url, cookie))[0] == 401


#: What ends an API token, or what it allows in the project "demo".
ENDS = {
    "revoked": "revoked_at = now()",
    "expired": "expires_at = now() - interval '1 second'",
    "limited to another project": "projects = array['other']",
}


@pytest.mark.parametrize("end", ENDS)
async def test_ticket_and_cookie_end_at_once_with_the_token_that_they_were_got_with(
    both: Gateway, database_url: str, commands: Any, end: str
) -> None:
    made = commands.json("create", "--user", OWNER)
    project = await both.sending(Authorization=f"Bearer {made['token']}").register("http://127.0.0.1:1")
    async with GatewayProcess(database_url, attrs.evolve(PROXIED, identity=both.app[CONFIG].identity)).run() as other:
        used, unused, elsewhere = [(await ticket(project))["url"] for _ in range(3)]
        cookie = as_sent((await opened(both, used))[1])
        assert (await opened(other, used, cookie))[0] == 200
        alter(database_url, f"update api_tokens set {ENDS[end]}")
        for gateway in (both, other):
            assert (await opened(gateway, used, cookie))[0] == 401
        assert (await opened(both, unused))[0] == 401
        assert (await opened(other, elsewhere))[0] == 401


async def test_a_pass_ends_with_a_token_that_is_there_no_more(both: Gateway, database_url: str, commands: Any) -> None:
    made = commands.json("create", "--user", OWNER)
    project = await both.sending(Authorization=f"Bearer {made['token']}").register("http://127.0.0.1:1")
    url = (await ticket(project))["url"]
    cookie = as_sent((await opened(both, url))[1])
    alter(database_url, "delete from api_tokens")
    assert (await opened(both, url, cookie))[0] == 401


async def test_a_pass_allows_no_more_than_its_user_and_token_do_by_now(
    both: Gateway, database_url: str, commands: Any, base_container: FakeContainer
) -> None:
    alice = both.sending(Authorization=f"Bearer {commands.json('create', '--user', OWNER)['token']}")
    project = await alice.register(base_container.url)
    assert (await alice.call("PUT", f"{project.path}/members/{OPERATOR}", {"role": "operator"})).status == 201
    made = commands.json("create", "--user", OPERATOR)
    olga = Project(both.sending(Authorization=f"Bearer {made['token']}"), project.id)
    async with GatewayProcess(database_url, attrs.evolve(PROXIED, identity=both.app[CONFIG].identity)).run() as other:
        got = [(await olga.call("POST", "/events/ticket", {"path": "/opencode/event"})).json["url"] for _ in range(4)]

        async def answered(url: str) -> int:
            return (await other.call("GET", url, headers={"Accept": "text/event-stream"})).status

        # Remembered there as it was, for a second.
        assert await answered(got[0]) not in (401, 403, 404)
        alter(database_url, f"update api_tokens set max_role = 'viewer' where id = '{made['id']}'")
        assert await answered(got[1]) == 403
        alter(database_url, "update api_tokens set max_role = 'admin'")
        alter(database_url, "update project_members set role = 'viewer'")
        assert await answered(got[2]) == 403
        alter(database_url, "delete from project_members")
        assert await answered(got[3]) == 404


async def test_a_pass_ends_with_the_mode_in_which_its_user_was_known(
    gateway: Gateway, project: Project, database_url: str
) -> None:
    url = (await ticket(project))["url"]
    cookie = as_sent((await opened(gateway, url))[1])
    unused = (await ticket(project))["url"]
    tokens_only = attrs.evolve(PROXIED.identity, modes=("tokens",))
    async with GatewayProcess(database_url, attrs.evolve(PROXIED, identity=tokens_only)).run() as restarted:
        assert (await opened(restarted, url, cookie))[0] == 401
        assert (await opened(restarted, unused))[0] == 401


@pytest.fixture
async def echoing(gateway: Gateway) -> AsyncIterator[tuple[Project, list[str]]]:
    """A project whose container streams, and echoes on WebSockets; and all that it was asked."""
    asked: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        asked.append(request.raw_path + str(dict(request.headers)))
        if request.headers.get("Upgrade"):
            sock = web.WebSocketResponse()
            await sock.prepare(request)
            async for message in sock:
                await sock.send_str(message.data)
            return sock
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"data: x\n\n")
        return response

    async with serve(answer) as upstream:
        project = await gateway.as_user(OWNER).register(str(upstream), containerUrl=str(upstream))
        for user_id, role in MEMBERS.items():
            await project.gateway.call("PUT", f"{project.path}/members/{user_id}", {"role": role})
        yield project, asked


async def test_a_websocket_is_opened_by_a_ticket_once(echoing: tuple[Project, list[str]]) -> None:
    project, asked = echoing
    gateway = Gateway(project.gateway.app, project.gateway.url, project.gateway.http)
    for path in ("/opencode/pty/a%20b/connect", "/acp/socket"):
        got = (await project.as_user(OPERATOR).call("POST", "/events/ticket", {"path": path})).json
        assert got["url"].startswith(project.path + path + "?gatewayTicket=")
        async with gateway.http.ws_connect(URL(f"{gateway.url}{got['url']}&ticket=its-own", encoded=True)) as sock:
            await sock.send_str("here")
            assert await sock.receive_str() == "here"
        # The container sees its own parameters, and nothing of ours.
        assert asked[-1].partition("{")[0] == path.removeprefix("/opencode").removeprefix("/acp") + "?ticket=its-own"
        assert got["ticket"] not in asked[-1]
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await gateway.http.ws_connect(URL(gateway.url + got["url"], encoded=True))
        assert refused.value.status == 401


async def test_a_containers_stream_is_opened_by_a_ticket_and_come_back_to(echoing: tuple[Project, list[str]]) -> None:
    project, asked = echoing
    gateway = Gateway(project.gateway.app, project.gateway.url, project.gateway.http)
    url = (await project.call("POST", "/events/ticket", {"path": "/opencode/event"})).json["url"]
    accept = {"Accept": "text/event-stream"}
    answer = await gateway.call("GET", url, headers=accept)
    assert (answer.status, answer.body) == (200, b"data: x\n\n")
    [cookie] = SimpleCookie(answer.headers["Set-Cookie"]).values()
    assert cookie["path"] == f"{project.path}/opencode/event"
    for path, status in (
        (url, 200),
        (f"{project.path}/opencode/event", 200),
        (f"{project.path}/opencode/event/x", 401),
    ):
        again = await gateway.call("GET", path, headers={**accept, "Cookie": as_sent(cookie)})
        assert again.status == status
    assert as_sent(cookie) not in "".join(asked)
    # Only what a browser has no header for.
    for method, headers in (("GET", {}), ("POST", accept)):
        answer = await gateway.call(method, url, headers={**headers, "Cookie": as_sent(cookie)})
        assert answer.status == 401


async def test_what_a_container_streams_is_for_operators(echoing: tuple[Project, list[str]]) -> None:
    project, _ = echoing
    refused = await project.as_user(VIEWER).call("POST", "/events/ticket", {"path": "/opencode/event"})
    assert (refused.status, refused.json["code"]) == (403, "insufficient_role")
    gateway = Gateway(project.gateway.app, project.gateway.url, project.gateway.http)
    url = (await project.as_user(OPERATOR).call("POST", "/events/ticket", {"path": "/opencode/event"})).json["url"]
    await project.gateway.call("PUT", f"{project.path}/members/{OPERATOR}", {"role": "viewer"})
    assert (await gateway.call("GET", url, headers={"Accept": "text/event-stream"})).status == 403


@pytest.mark.parametrize(
    "path",
    ["", "opencode/x", "/opencode", "/session", "/opencode/x?y", "/opencode/a b", "/acp/../..", "/acp/x\n", "/acp/é"],
)
async def test_a_path_that_is_none_has_no_ticket(project: Project, path: str) -> None:
    answer = await project.call("POST", "/events/ticket", {"path": path})
    assert (answer.status, answer.json["code"]) == (400, "invalid_body")
