"""What the upstream sees of a request, and the client of an answer, when nothing goes wrong."""

import gzip
import socket
import ssl

import attrs
import pytest

from gateway.proxy.upstream import Upstream
from tests.proxy.peers import OK, Message, Peer, ask, connect, gateway, get, post, raw_upstream


async def seen_by_upstream(request: bytes, **options: object) -> Message:
    async with raw_upstream(OK) as upstream, gateway(upstream.address, **options) as front:  # type: ignore[arg-type]
        answer = await ask(front, request)
        assert (answer.status, answer.body) == (200, b"ok")
        return upstream.requests[0]


async def seen_by_client(answer: bytes, request: bytes | None = None) -> Message:
    request = request or get()
    async with raw_upstream(answer) as upstream, gateway(upstream.address) as front:
        return await ask(front, request, bodyless=request.startswith(b"HEAD"))


@pytest.mark.parametrize(
    "target",
    [
        "/a%2Fb%20c/%7Euser/%C3%A9?x=%2B+%20&y=a%26b",
        "/a/../b/./c",
        "/%2e%2e/%2E",
        "//d//s",
        "/;v=1,2/(x)'*!$&=:@",
        "/%e4%bd%a0",
        "/a%zz%",
        '/?a[]=1&b={}|^"<>',
        "/%00x",
        "/x?",
        "/x??a=1?",
        "/?q=1&q=2&q=1",
        "/path?next=http://h/?a%3Db",
        "/" + "a" * 8_000,
    ],
)
async def test_target_reaches_the_upstream_byte_for_byte(target: str) -> None:
    assert (await seen_by_upstream(get(target))).target == target


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "LOCK"])
async def test_any_method_passes(method: str) -> None:
    assert (await seen_by_upstream(get("/x", method=method))).start == f"{method} /x HTTP/1.1"


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
async def test_any_method_may_have_a_body(method: str) -> None:
    assert (await seen_by_upstream(post(b"body", method=method))).body == b"body"


async def test_connect_opens_no_tunnel() -> None:
    async with raw_upstream(OK) as upstream, gateway(upstream.address) as front:
        answer = await ask(front, b"CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\n\r\n")
        assert answer.status == 404
        assert upstream.connections == []


async def test_request_headers_pass_with_repeats_and_order() -> None:
    seen = await seen_by_upstream(get("/", "X-A: 1", "X-B: 2", "x-a: 3", "X-Empty:", "X-Uni: é", "Accept: a/b"))
    ours = [
        (name, value) for name, value in seen.headers if name.lower() in ("x-a", "x-b", "x-empty", "x-uni", "accept")
    ]
    assert ours == [("X-A", "1"), ("X-B", "2"), ("x-a", "3"), ("X-Empty", ""), ("X-Uni", "é"), ("Accept", "a/b")]


async def test_nothing_is_invented_on_the_way_up() -> None:
    seen = await seen_by_upstream(get())
    names = {name for name, _ in seen.headers}
    assert names == {"Host", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host"}
    assert (seen.one("X-Forwarded-For"), seen.one("X-Forwarded-Host")) == ("127.0.0.1", "gateway.test")


async def test_upstream_is_addressed_by_its_own_name() -> None:
    async with raw_upstream(OK) as upstream, gateway(upstream.address) as front:
        await ask(front, get())
        assert upstream.requests[0].one("Host") == upstream.address.authority


async def test_credentials_of_the_gateways_users_stay_here() -> None:
    seen = await seen_by_upstream(get("/", "Authorization: Bearer t", "Cookie: sid=1", "Proxy-Authorization: Basic x"))
    assert [name for name, _ in seen.headers if name in ("Authorization", "Cookie", "Proxy-Authorization")] == []


async def test_extra_headers_replace_the_clients() -> None:
    seen = await seen_by_upstream(
        get("/", "authorization: Bearer user", "x-kind: a"),
        extra_headers=[("Authorization", "Bearer host"), ("X-Kind", "b")],
    )
    assert (seen.all("Authorization"), seen.all("X-Kind")) == (["Bearer host"], ["b"])


async def test_hop_by_hop_fields_of_the_request_stay_here() -> None:
    seen = await seen_by_upstream(
        get("/", "Connection: close, X-Hop", "X-Hop: 1", "TE: trailers", "Keep-Alive: 5", "Upgrade: h2c")
    )
    names = {name.lower() for name, _ in seen.headers}
    assert names.isdisjoint({"connection", "x-hop", "te", "keep-alive", "upgrade"})


async def test_answer_passes_as_it_is() -> None:
    answer = await seen_by_client(
        b"HTTP/1.1 299 Rather Fine\r\nX-A: 1\r\nSet-Cookie: a=1\r\nx-a: 2\r\nSet-Cookie: b=2\r\nDate: then\r\n"
        b"Content-Length: 3\r\n\r\nabc"
    )
    assert answer.start == "HTTP/1.1 299 Rather Fine"
    assert answer.headers == [
        ("X-A", "1"),
        ("Set-Cookie", "a=1"),
        ("x-a", "2"),
        ("Set-Cookie", "b=2"),
        ("Date", "then"),
        ("Content-Length", "3"),
    ]
    assert answer.body == b"abc"


async def test_hop_by_hop_fields_of_the_answer_stay_here() -> None:
    answer = await seen_by_client(
        b"HTTP/1.1 200 OK\r\nConnection: X-Hop, close\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nTrailer: X\r\n"
        b"Proxy-Authenticate: x\r\nUpgrade: h2c\r\nContent-Length: 0\r\n\r\n"
    )
    assert {name for name, _ in answer.headers} == {"Content-Length", "Date"}


@pytest.mark.parametrize("status", [200, 203, 400, 401, 404, 405, 418, 429, 500, 502, 503, 599])
async def test_status_of_the_upstream_is_the_clients(status: int) -> None:
    answer = await seen_by_client(f"HTTP/1.1 {status} Why\r\nContent-Length: 4\r\n\r\nbody".encode())
    assert (answer.start, answer.body) == (f"HTTP/1.1 {status} Why", b"body")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirect_is_an_answer_like_any_other(status: int) -> None:
    answer = await seen_by_client(f"HTTP/1.1 {status} Go\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n".encode())
    assert (answer.status, answer.one("Location")) == (status, "/x")


async def test_head_keeps_the_length_of_what_get_would_give() -> None:
    answer = await seen_by_client(b"HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n", get(method="HEAD"))
    assert (answer.one("Content-Length"), answer.body) == ("12345", b"")


@pytest.mark.parametrize("status", [204, 304])
async def test_answer_without_a_body_leaves_the_connection_usable(status: int) -> None:
    async with (
        raw_upstream(f"HTTP/1.1 {status} X\r\nETag: x\r\n\r\n".encode()) as upstream,
        gateway(upstream.address) as front,
    ):
        async with connect(front) as peer:
            for _ in range(2):
                await peer.send(get())
                answer = await peer.message()
                assert (answer.status, answer.one("ETag"), answer.all("Transfer-Encoding")) == (status, "x", [])


async def test_gzip_passes_down_untouched() -> None:
    body = gzip.compress(b"x" * 1000)
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    answer = await seen_by_client(head + body)
    assert (answer.body, answer.one("Content-Encoding"), answer.one("Content-Length")) == (
        body,
        "gzip",
        str(len(body)),
    )


async def test_gzip_passes_up_untouched() -> None:
    body = gzip.compress(b"x" * 1000)
    seen = await seen_by_upstream(post(body, "Content-Encoding: gzip"))
    assert (seen.body, seen.one("Content-Encoding"), seen.one("Content-Length")) == (body, "gzip", str(len(body)))


async def test_chunked_passes_down_chunked() -> None:
    answer = await seen_by_client(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nTrailer: x\r\n\r\n"
    )
    assert (answer.body, answer.complete, answer.one("Transfer-Encoding")) == (b"abcde", True, "chunked")


async def test_chunked_passes_up_chunked() -> None:
    seen = await seen_by_upstream(get("/", "Transfer-Encoding: chunked", method="POST") + b"3\r\nabc\r\n0\r\n\r\n")
    assert (seen.body, seen.one("Transfer-Encoding"), seen.all("Content-Length")) == (b"abc", "chunked", [])


async def test_empty_bodies_stay_empty() -> None:
    seen = await seen_by_upstream(post(b""))
    assert (seen.one("Content-Length"), seen.all("Transfer-Encoding")) == ("0", [])
    seen = await seen_by_upstream(get("/", "Transfer-Encoding: chunked", method="POST") + b"0\r\n\r\n")
    assert (seen.body, seen.complete) == (b"", True)


async def test_body_without_length_is_chunked_for_the_client() -> None:
    async def until_closed(peer: Peer) -> None:
        await peer.message()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\nabc")

    async with raw_upstream(until_closed) as upstream, gateway(upstream.address) as front:
        answer = await ask(front, get())
    assert (answer.body, answer.complete, answer.one("Transfer-Encoding")) == (b"abc", True, "chunked")


async def test_http_1_0_client_gets_no_chunks() -> None:
    async with (
        raw_upstream(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n") as upstream,
        gateway(upstream.address) as front,
    ):
        async with connect(front) as peer:
            await peer.send(b"GET / HTTP/1.0\r\n\r\n")
            answer = await peer.message()
    assert (answer.body, answer.all("Transfer-Encoding")) == (b"abc", [])


async def test_client_that_names_no_host_is_not_given_one() -> None:
    async with raw_upstream(OK) as upstream, gateway(upstream.address) as front:
        await ask(front, b"GET / HTTP/1.0\r\n\r\n")
        assert upstream.requests[0].all("X-Forwarded-Host") == []


async def test_interim_answers_are_not_the_answer() -> None:
    answer = await seen_by_client(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK)
    assert (answer.status, answer.body) == (200, b"ok")


async def test_header_fields_are_larger_from_a_container_than_from_a_client() -> None:
    value = "v" * 8_000
    assert (await seen_by_upstream(get("/", f"X-Large: {value}"))).one("X-Large") == value
    value = "v" * 32_000
    answer = await seen_by_client(f"HTTP/1.1 200 OK\r\nX-Large: {value}\r\nContent-Length: 0\r\n\r\n".encode())
    assert answer.one("X-Large") == value
    async with raw_upstream(OK) as upstream, gateway(upstream.address) as front:
        assert (await ask(front, get("/", f"X-Large: {value}"))).status == 431
        assert upstream.requests == []


async def test_there_are_more_header_fields_from_a_container_than_from_a_client() -> None:
    fields = [f"X-{n}: {n}" for n in range(190)]
    seen = await seen_by_upstream(get("/", *fields[:120]))
    assert [f"{name}: {value}" for name, value in seen.headers if name[2:].isdigit()] == fields[:120]
    answer = await seen_by_client("\r\n".join(["HTTP/1.1 200 OK", *fields, "Content-Length: 0", "", ""]).encode())
    assert [f"{name}: {value}" for name, value in answer.headers if name[2:].isdigit()] == fields
    async with raw_upstream(OK) as upstream, gateway(upstream.address) as front:
        assert (await ask(front, get("/", *fields))).status == 400


async def test_an_upstream_that_never_comes_to_its_answer_is_given_up() -> None:
    answer = await seen_by_client(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000 + OK)
    assert answer.status == 502


async def test_connection_is_used_again_for_the_next_request() -> None:
    async with raw_upstream(OK) as upstream, gateway(upstream.address) as front:
        for _ in range(3):
            await ask(front, get())
        assert (len(upstream.requests), len(upstream.connections)) == (3, 1)


async def test_cookies_of_one_client_are_not_given_to_another() -> None:
    async with raw_upstream(b"HTTP/1.1 200 OK\r\nSet-Cookie: sid=alice\r\nContent-Length: 0\r\n\r\n") as upstream:
        # By name: aiohttp's cookie jar, which must not be there, would ignore the cookies of an address.
        async with gateway(attrs.evolve(upstream.address, host="localhost")) as front:
            for _ in range(2):
                await ask(front, get())
        assert [request.all("Cookie") for request in upstream.requests] == [[], []]


async def test_path_prefix_of_the_address_comes_first() -> None:
    async with (
        raw_upstream(OK) as upstream,
        gateway(Upstream.parse(f"{upstream.address}/base/a%2Fb/"), prefix="/api/x") as front,
    ):
        await ask(front, get("/c?d"))
    assert upstream.requests[0].target == "/base/a%2Fb/c?d"
    assert upstream.requests[0].one("X-Forwarded-Prefix") == "/api/x"


def has_ipv6() -> bool:
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
async def test_upstream_with_an_ipv6_address() -> None:
    async with raw_upstream(OK, host="::1") as upstream, gateway(upstream.address) as front:
        assert (await ask(front, get())).body == b"ok"
        assert upstream.requests[0].one("Host") == f"[::1]:{upstream.address.port}"


async def test_upstream_over_https(server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    async with raw_upstream(OK, tls=server_tls) as upstream, gateway(upstream.address, tls=client_tls) as front:
        assert (await ask(front, post(b"x" * 100_000))).body == b"ok"
        assert upstream.requests[0].body == b"x" * 100_000
