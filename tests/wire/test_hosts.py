"""A ``Host`` field names a host and maybe a port, or it is nothing."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.wire.hosts import Host, parse_host, parse_origin

#: What some program somewhere takes for a host name.
NO_HOSTS = [
    "",
    " ",
    " localhost",
    "localhost ",
    "localhost evil.example",
    "localhost,evil.example",
    "localhost/",
    "localhost/evil",
    "localhost?evil",
    "localhost#evil",
    "localhost\\evil",
    "127.0.0.1/@evil.example",
    "evil.example@localhost",
    "localhost@evil.example",
    "user:password@localhost",
    "localhost;x",
    "http://localhost",
    "//localhost",
    "localhost:",
    "localhost:0",
    "localhost:080",
    "localhost:65536",
    "localhost:80:80",
    "localhost:8080/",
    "localhost:+80",
    "localhost:8e3",
    "localhost:\u0661",
    ":80",
    "local%68ost",
    "localhost%00",
    "localhost\0",
    "localhost\t",
    "localhost\r",
    "localhost\n",
    "localh\xf6st",
    "localhost\u3002",
    "\uff4cocalhost",
    "localho\u017ft",
    ".localhost",
    "a..localhost",
    ".",
    "..",
    "a" * 64 + ".example",
    "a." * 127 + "aa.example",
    "*",
    "*.localhost",
    "[::1",
    "::1",
    "::1]",
    "[::1]x",
    "[::1]:",
    "[::1]:x",
    "[]",
    "[localhost]",
    "[127.0.0.1]",
    "[fe80::1%25lo]",
    "[fe80::1%lo]",
    "[v1.a]",
    "[::1]]",
    "127.1",
    "2130706433",
    "0x7f000001",
    "0x7f.1",
    "0177.0.0.1",
    "127.0.0.01",
    "127.0.0.256",
    "127.0.0.0.1",
    "127.0.0.1.",
    "a.1",
    "1.2.3.4.5",
]


@pytest.mark.parametrize("field", NO_HOSTS)
def test_what_is_no_host_is_none(field: str) -> None:
    assert parse_host(field) is None


@pytest.mark.parametrize(
    ("field", "host"),
    [
        ("localhost", Host("localhost")),
        ("LOCALHOST:8080", Host("localhost", 8080)),
        ("demo.localhost:65535", Host("demo.localhost", 65535)),
        ("acp_gateway:8080", Host("acp_gateway", 8080)),
        ("-a-.localhost", Host("-a-.localhost")),
        ("gateway.example.com.", Host("gateway.example.com.")),
        ("127.0.0.1", Host("127.0.0.1")),
        ("10.0.0.7:1", Host("10.0.0.7", 1)),
        ("[::1]", Host("::1")),
        ("[0:0::0:1]:80", Host("::1", 80)),
        ("[::FFFF:127.0.0.1]", Host("::ffff:7f00:1")),
        ("1a.example", Host("1a.example")),
        ("a.0xg", Host("a.0xg")),
    ],
)
def test_a_host_is_read_with_its_port(field: str, host: Host) -> None:
    assert parse_host(field) == host
    assert parse_host(str(host)) == host


@given(st.text())
@example("localhost:8080")
def test_what_is_read_can_be_written_and_is_plain(field: str) -> None:
    host = parse_host(field)
    if host is not None:
        assert parse_host(str(host)) == host
        assert not set(str(host)) - set("abcdefghijklmnopqrstuvwxyz0123456789_.-[]:")


@pytest.mark.parametrize("field", ["null", "", "https://", "https://a/", "https://a?", "https://u@a", "file://a", "a"])
def test_what_is_no_origin_of_a_page_is_none(field: str) -> None:
    assert parse_origin(field) is None


def test_the_usual_port_need_not_be_named() -> None:
    for scheme, port in (("http", 80), ("https", 443)):
        origin = parse_origin(f"{scheme}://gateway.example.com")
        assert origin is not None
        assert origin.host.is_same(Host("gateway.example.com", port), scheme)
        assert not origin.host.is_same(Host("gateway.example.com", port + 1), scheme)
        assert not origin.host.is_same(Host("gateway.example.org", port), scheme)
