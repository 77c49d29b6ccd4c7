"""A ``Host`` field names a host and maybe a port, or it is nothing."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.wire.hosts import Host, parse_host, parse_origin
from tests.wire.hosts import NO_HOSTS


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
