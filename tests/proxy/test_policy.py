"""Where a gateway connects to: by address, however it is spelled and whatever a name stands for meanwhile."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.schema import PRIVATE_NETWORKS, Config, ContainersConfig
from gateway.errors import UpstreamError, UpstreamForbidden
from gateway.proxy.client import Client
from gateway.proxy.policy import AddressPolicy, ForbiddenAddress
from gateway.proxy.upstream import Timeouts, Upstream
from tests.fakes.eventually import eventually
from tests.world import QUICK, GatewayProcess

BRIEF = Timeouts(connect=2, headers=2, idle=2)
#: Everything that can be written of this machine: each of these would reach a listener here, were it not refused.
LOOPBACK = [
    "127.0.0.1", "127.0.0.2", "127.255.255.254", "127.1", "127.0.1", "2130706433", "017700000001", "0177.0.0.1",
    "0x7f000001", "0x7f.1", "0x7F.0x0.0x0.0x1", "127.0.0.1.", "0", "0.0.0.0", "0x0", "00.0.0.0",
    "[::1]", "[0:0:0:0:0:0:0:1]", "[::0001]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[0:0::ffff:7f00:1]",
    "[::ffff:0.0.0.0]", "localhost", "LOCALHOST",
]  # fmt: skip
#: Nothing listens there; what is shown of them is that no socket is opened, and that nothing can allow them.
NEVER = [
    "169.254.169.254", "169.254.170.2", "2852039166", "0xa9fea9fe", "0xa9.0xfe.0xa9.0xfe", "0251.0376.0251.0376",
    "025177524776", "169.254.43518", "[::ffff:169.254.169.254]", "[::ffff:a9fe:a9fe]", "[::169.254.169.254]",
    "[64:ff9b::169.254.169.254]", "[64:ff9b::a9fe:a9fe]", "[64:ff9b:1::a9fe:a9fe]", "[2002:a9fe:a9fe::1]",
    "[fd00::5efe:169.254.169.254]", "[fd00:ec2::254]", "[fd20:ce::254]", "[fe80::1]", "[febf::1]", "[fec0::1]",
    "224.0.0.1", "239.255.255.250", "[ff02::1]", "255.255.255.255", "240.0.0.1", "192.0.0.192", "100.100.100.200",
    "168.63.129.16", "[2001:0:a9fe:a9fe::1]", "[100::1]",
]  # fmt: skip


class Listener:
    """Counts who connects, on every address of this machine, and at which of them."""

    def __init__(self) -> None:
        self.port = 0
        self.reached: list[str] = []

    @asynccontextmanager
    async def listening(self) -> AsyncIterator["Listener"]:
        sock = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
        self.port = sock.getsockname()[1]
        server = await asyncio.start_server(self._accept, sock=sock)
        async with server:
            yield self

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reached.append(writer.get_extra_info("sockname")[0].removeprefix("::ffff:"))
        await reader.readline()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    async with Listener().listening() as opened:
        yield opened


class Names:
    """A name server that answers each time with the next of these; the last one goes on."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def __call__(self, host: str) -> list[tuple[int, str]]:
        self.asked += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [(socket.AF_INET6 if ":" in one else socket.AF_INET, one) for one in answer.split()]


async def ask(client: Client, url: str) -> int:
    async with client.open("GET", Upstream.parse(url), "/", timeouts=BRIEF) as response:
        return response.status


@pytest.mark.parametrize("host", LOOPBACK)
async def test_no_spelling_of_an_address_that_is_not_allowed_connects(host: str, listener: Listener) -> None:
    async with Client(AddressPolicy.parse(["10.0.0.0/8"])) as client:
        with pytest.raises(UpstreamForbidden):
            await ask(client, f"http://{host}:{listener.port}")
        with pytest.raises(ForbiddenAddress):
            await client.check(Upstream.parse(f"http://{host}:{listener.port}"))
    assert listener.reached == []


async def test_those_spellings_reach_this_machine_where_nothing_refuses_them(listener: Listener) -> None:
    reaching = 0
    for host in LOOPBACK:
        try:
            _, writer = await asyncio.open_connection(host.strip("[]"), listener.port)
        except OSError:
            continue  # a C library may know fewer
        writer.close()
        reaching += 1
    assert reaching > len(LOOPBACK) // 2


@pytest.mark.parametrize("host", NEVER)
@pytest.mark.parametrize("allow", [["0.0.0.0/0", "::/0"], ["*"]], ids=["all networks", "all names"])
async def test_nothing_that_is_allowed_opens_an_address_that_never_is(
    host: str, allow: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[object] = []
    monkeypatch.setattr("gateway.proxy.client._open_socket", opened.append)
    async with Client(AddressPolicy.parse(allow)) as client:
        with pytest.raises(UpstreamForbidden):
            await ask(client, f"http://{host}:80")
        with pytest.raises(ForbiddenAddress):
            await client.check(Upstream.parse(f"http://{host}:80"))
        plain = Names(host.strip("[]"))
        try:
            socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host.strip("[]"))
        except OSError:
            return
    async with Client(AddressPolicy.parse(["*"]), lookup=plain) as client:
        with pytest.raises(UpstreamForbidden):
            await ask(client, "http://metadata.google.internal:80")
    assert opened == []


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:{}", "http://[::1]:{}", "http://[::ffff:127.0.0.1]:{}", "http://localhost:{}"]
)
async def test_what_is_allowed_connects(url: str, listener: Listener) -> None:
    async with Client(AddressPolicy.parse(PRIVATE_NETWORKS)) as client:
        await client.check(Upstream.parse(url.format(listener.port)))
        assert await ask(client, url.format(listener.port)) == 200
    assert len(listener.reached) == 1


async def test_a_name_that_stands_for_another_address_at_the_connection_is_refused_then(listener: Listener) -> None:
    names = Names("127.0.0.1", "127.0.0.2")
    url = f"http://agent.example:{listener.port}"
    async with Client(AddressPolicy.parse(["127.0.0.1"]), lookup=names) as client:
        await client.check(Upstream.parse(url))
        with pytest.raises(UpstreamForbidden, match=r"127\.0\.0\.2"):
            await ask(client, url)
    assert listener.reached == []


async def test_a_name_is_asked_for_once_and_what_was_checked_is_what_is_connected_to(listener: Listener) -> None:
    names = Names("127.0.0.3", "127.0.0.1")
    async with Client(AddressPolicy.parse(["127.0.0.3"]), lookup=names) as client:
        assert await ask(client, f"http://agent.example:{listener.port}") == 200
    assert (names.asked, listener.reached) == (1, ["127.0.0.3"])


async def test_of_a_names_addresses_only_allowed_ones_are_tried(listener: Listener) -> None:
    names = Names("169.254.169.254 127.0.0.2 127.0.0.1 ::1")
    async with Client(AddressPolicy.parse(["127.0.0.1"]), lookup=names) as client:
        assert await ask(client, f"http://agent.example:{listener.port}") == 200
    assert listener.reached == ["127.0.0.1"]


@pytest.mark.parametrize(
    ("allow", "name", "is_allowed"),
    [
        (["*.agents.internal"], "one.agents.internal", True),
        (["*.agents.internal"], "ONE.Agents.internal.", True),
        (["*.agents.internal"], "a.b.agents.internal", True),
        (["*.agents.internal"], "agents.internal", False),
        (["*.agents.internal"], "evilagents.internal", False),
        (["*.agents.internal"], "one.agents.internal.evil.example", False),
        (["agent-1"], "agent-1", True),
        (["agent-1"], "agent-1.example", False),
        (["agent-1"], "agent-12", False),
        (["*"], "anything.example", True),
        ([], "localhost", False),
    ],
)
async def test_a_listed_name_may_have_any_address(
    allow: list[str], name: str, is_allowed: bool, listener: Listener
) -> None:
    async with Client(AddressPolicy.parse(allow), lookup=Names("127.0.0.1")) as client:
        if is_allowed:
            assert await ask(client, f"http://{name}:{listener.port}") == 200
        else:
            with pytest.raises(UpstreamForbidden):
                await ask(client, f"http://{name}:{listener.port}")
    assert len(listener.reached) == is_allowed


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("10.0.0.5/8", "host bits"),
        ("10.0.0.0/33", "10.0.0.0/33"),
        ("169.254.0.0/16", "never"),
        ("169.254.169.254", "never"),
        ("fe80::/64", "never"),
        ("10.0.0", "neither"),
        ("0x7f000001", "neither"),
        ("a*.example", "neither"),
        ("*.*.example", "neither"),
        ("http://x", "http://x"),
        ("", "neither"),
    ],
)
def test_an_entry_that_is_wrong_or_without_effect_is_named(entry: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        AddressPolicy.parse(["10.0.0.0/8", entry])


@given(st.ip_addresses(v=6))
def test_an_ipv6_address_is_allowed_only_with_its_network_or_what_it_maps_to(address: object) -> None:
    policy = AddressPolicy.parse(["fd00::/8", "10.0.0.0/8"])
    try:
        policy.check_literal(str(address))
    except ForbiddenAddress:
        return
    mapped = getattr(address, "ipv4_mapped", None)
    assert str(address).startswith("fd") or (mapped is not None and str(mapped).startswith("10."))


def restricted(allow: Iterable[str]) -> Config:
    return attrs.evolve(QUICK, containers=attrs.evolve(QUICK.containers, allow=tuple(allow)))


async def test_an_address_that_is_not_allowed_is_refused_at_registration_with_what_would_be(database_url: str) -> None:
    async with GatewayProcess(database_url, restricted(["10.0.0.0/8"])).run() as gateway:
        for member in ("containerUrl", "acpUrl"):
            for host in ("127.0.0.1", "127.1", "[::1]", "localhost", "169.254.169.254", "8.8.8.8"):
                body = {"id": "x", "containerUrl": "http://10.0.0.1:4096", member: f"http://{host}:4096"}
                answer = await gateway.call("POST", "/api/projects", body)
                assert (answer.status, answer.json["code"]) == (400, "invalid_body")
                assert answer.json["detail"].startswith(f"$.{member}: ")
        await gateway.register("http://10.0.0.1:4097", containerUrl="http://10.0.0.1:4096")
        answer = await gateway.call("PATCH", "/api/projects/demo", {"acpUrl": "http://127.0.0.1:1"})
        assert answer.status == 400
        assert "containers.allow" in answer.json["detail"]
        # Nothing resolves it now; it may be there when it is needed, and is checked then.
        assert (await gateway.call("PATCH", "/api/projects/demo", {"acpUrl": "http://later.invalid:1"})).status == 200


async def test_no_way_to_a_container_leads_past_the_policy(
    database_url: str, listener: Listener, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    async with GatewayProcess(database_url, QUICK).run() as before:
        url = f"http://127.0.0.1:{listener.port}"
        await before.register(url, containerUrl=url)
    async with GatewayProcess(database_url, restricted(["10.0.0.0/8"])).run() as gateway:
        upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
                   "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="}  # fmt: skip
        for method, path, headers in (
            ("GET", "/acp/anything", {}),
            ("GET", "/opencode/session", {}),
            ("GET", "/acp/agents/demo/status", {}),
            ("POST", "/acp/agents/demo/spawn", {"Content-Type": "application/json"}),
            ("GET", "/acp/agents", {}),
            ("GET", "/opencode/pty", upgrade),
        ):
            raw = b"{}" if method == "POST" else None
            answer = await gateway.call(method, f"/api/projects/demo{path}", raw=raw, headers=headers)
            assert (answer.status, answer.json["code"]) == (502, "upstream_forbidden"), path
        async with gateway.http.get(gateway.url + "/api/projects/demo/acp/events") as stream:
            assert stream.status == 200
            await eventually(lambda: "container not followed" in caplog.messages)
    assert listener.reached == []


async def test_a_containers_redirect_is_an_answer_like_any_other(listener: Listener) -> None:
    async def redirect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        location = f"http://127.0.0.1:{listener.port}/".encode()
        writer.write(b"HTTP/1.1 307 Moved\r\nContent-Length: 0\r\nLocation: " + location + b"\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(redirect, "127.0.0.1", 0)
    async with server, Client(AddressPolicy.parse(PRIVATE_NETWORKS)) as client:
        assert await ask(client, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}") == 307
    assert listener.reached == []


async def test_no_proxy_of_the_environment_is_asked(listener: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{listener.port}")
    async with Client(AddressPolicy.parse(["127.0.0.2"])) as client:
        with pytest.raises(UpstreamError):
            await ask(client, "http://127.0.0.2:1")
    assert listener.reached == []


def test_the_default_is_this_machine_and_private_networks() -> None:
    policy = AddressPolicy.parse(ContainersConfig().allow)
    for host in ("127.0.0.1", "10.1.2.3", "172.31.0.1", "192.168.1.1", "100.64.0.1", "::1", "fd12::1"):
        assert policy.check_literal(host)
    for host in ("8.8.8.8", "172.32.0.1", "2606:4700::1111", "100.128.0.1"):
        with pytest.raises(ForbiddenAddress):
            policy.check_literal(host)
