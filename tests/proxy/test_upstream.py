import pytest

from gateway.errors import BadRequest
from gateway.proxy.upstream import Upstream


@pytest.mark.parametrize(
    ("text", "base"),
    [
        ("http://127.0.0.1:4096", "http://127.0.0.1:4096"),
        ("http://container", "http://container:80"),
        ("https://container", "https://container:443"),
        ("HTTP://Agent_1.internal:80/", "http://agent_1.internal:80"),
        ("http://[::1]:4096", "http://[::1]:4096"),
        ("https://[2001:db8::1]", "https://[2001:db8::1]:443"),
        ("http://h/base/a%2Fb/", "http://h:80/base/a%2Fb"),
    ],
)
def test_address_is_understood(text: str, base: str) -> None:
    assert str(Upstream.parse(text)) == base


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("container:4096", "begin with http"),
        ("ftp://h", "begin with http"),
        ("", "begin with http"),
        ("http://", "name a host"),
        ("http://:4096", "name a host"),
        ("http://a b/", "spaces"),
        ("http://h\n", "spaces"),
        ("http://bücher.test", "ASCII"),
        ("http://h:0", "port"),
        ("http://h:65536", "port"),
        ("http://h:", "port"),
        ("http://h:x", "port"),
        ("http://h:+1", "port"),
        ("http://user:secret@h", "user name"),
        ("http://h?x=1", "query"),
        ("http://h/?", "query"),
        ("http://h/#top", "fragment"),
        ("http://h/a/../b", "segments"),
        ("http://h/%2e%2E", "segments"),
        ('http://h/"', "percent-encoded"),
        ("http://[::1", "host"),
        ("http://[::g]:80", "host"),
        ("http://[127.0.0.1]:80", "host"),
        ("http://h]:80", "host"),
        ("http://-h-", "host"),
        ("http://a..b", "host"),
        (f"http://{'a' * 64}.test", "host"),
        (f"http://{'a.' * 126}test", "host"),
    ],
)
def test_wrong_address_is_refused_with_a_sentence(text: str, what: str) -> None:
    with pytest.raises(ValueError, match=what) as caught:
        Upstream.parse(text)
    assert "secret" not in str(caught.value)


def test_another_port_keeps_the_rest() -> None:
    upstream = Upstream.parse("https://[::1]:4096/base").with_port(4097)
    assert (upstream.port, str(upstream)) == (4097, "https://[::1]:4097/base")


@pytest.mark.parametrize(
    ("base", "target", "path"),
    [
        ("http://h", "/a", "/a"),
        ("http://h", "", "/"),
        ("http://h", "?x=1", "/?x=1"),
        ("http://h/base", "", "/base"),
        ("http://h/base/", "/a?b", "/base/a?b"),
        ("http://h", "//d//s", "//d//s"),
        ("http://h", "/x?", "/x?"),
    ],
)
def test_target_goes_below_the_base(base: str, target: str, path: str) -> None:
    assert Upstream.parse(base).path_for(target) == path


@pytest.mark.parametrize("target", ["/../x", "/a/..", "/a/%2e%2E/b", "/./x"])
def test_target_cannot_climb_out_of_the_base_path(target: str) -> None:
    with pytest.raises(BadRequest):
        Upstream.parse("http://h/base").path_for(target)


def test_target_must_be_a_path() -> None:
    with pytest.raises(ValueError, match="slash"):
        Upstream.parse("http://h").path_for("http://evil/")
