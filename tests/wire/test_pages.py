"""Which requests a page of another site is behind, and what is a name of a server's own."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.hosts import parse_host
from gateway.wire.pages import foreign_page, hosts_asked, is_address, is_loopback, is_named


@pytest.mark.parametrize(
    ("name", "is_one"),
    [("agents.example", True), ("Agents.Example", True), ("a.b.example", True), ("b.example", False),
     ("xagents.example", False), ("agents.example.evil", False), ("evil-b.example", False)],
)  # fmt: skip
def test_a_name_is_listed_itself_or_below_a_star(name: str, is_one: bool) -> None:
    host = parse_host(name)
    assert host is not None
    assert is_named(host, ["agents.example", "*.B.example"]) is is_one


@pytest.mark.parametrize(
    ("origins", "sites", "is_foreign"),
    [
        ([], [], False),
        ([], ["none"], False),
        (["own"], ["same-origin"], False),
        (["own", "evil"], [], True),
        (["evil"], ["same-origin"], True),
        (["null"], [], True),
        ([""], [], True),
        ([], ["cross-site"], True),
        ([], ["same-site"], True),
        ([], ["Cross-Site"], True),
        ([], ["none", "cross-site"], True),
        ([], ["what comes next"], True),
    ],
)
def test_a_page_of_another_site_is_told_by_either_field(origins: list[str], sites: list[str], is_foreign: bool) -> None:
    assert (foreign_page(origins, sites, lambda origin: origin == "own") is not None) is is_foreign


@pytest.mark.parametrize(
    ("name", "expected"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("[::1]", True), ("::ffff:127.0.0.1", True),
     ("localhost", True), ("0.0.0.0", False), ("::", False), ("192.0.2.1", False), ("localhost.example.org", False),
     ("demo.localhost", False), ("", False)],
)  # fmt: skip
def test_only_names_and_addresses_of_this_machine_are_loopback(name: str, expected: bool) -> None:
    assert is_loopback(name) is expected


@given(st.ip_addresses(), st.sampled_from(["", ":4097"]))
def test_an_address_is_no_name_in_any_spelling(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: str
) -> None:
    spelt = [f"[{address}]", f"[{address.exploded}]"] if address.version == 6 else [str(address)]
    for text in spelt:
        host = parse_host(text + port)
        assert host is not None
        assert is_address(host.name)
        assert ipaddress.ip_address(host.name) == address


@given(st.from_regex(r"[a-z0-9-]{1,9}(\.[a-z0-9-]{1,9}){0,3}", fullmatch=True))
def test_a_name_is_no_address_and_not_this_machine(name: str) -> None:
    host = parse_host(name)
    if host is not None and host.name != "localhost":
        assert is_address(host.name) is (name.count(".") == 3 and name.replace(".", "").isdigit())
        assert is_address(host.name) or not is_loopback(host.name)


@pytest.mark.parametrize(
    ("target", "field", "hosts"),
    [
        ("/info", "localhost", ["localhost"]),
        ("/info?next=http://evil.example/", "localhost", ["localhost"]),
        ("/info", None, []),
        ("*", "localhost", ["localhost"]),
        ("http://evil.example/info", "localhost", ["localhost", "evil.example"]),
        ("http://evil.example:80", None, ["evil.example:80"]),
        ("http://localhost@evil.example?/", "localhost", ["localhost", "localhost@evil.example"]),
        ("ftp://evil.example#", "localhost", ["localhost", "evil.example"]),
        ("http://", "localhost", ["localhost", ""]),
    ],
)
def test_a_host_in_the_target_counts_beside_the_field(target: str, field: str | None, hosts: list[str]) -> None:
    assert hosts_asked(target, field) == hosts
