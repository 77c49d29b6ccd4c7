import pytest
from multidict import CIMultiDict

from gateway.proxy.headers import to_client, to_upstream


def headers(*items: tuple[str, str]) -> CIMultiDict[str]:
    return CIMultiDict(items)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        pytest.param([("A", "1"), ("B", "2")], [("A", "1"), ("B", "2")], id="other fields pass in their order"),
        pytest.param([("Connection", "close"), ("A", "1")], [("A", "1")], id="connection"),
        pytest.param([("Keep-Alive", "timeout=5"), ("A", "1")], [("A", "1")], id="keep-alive"),
        pytest.param([("TE", "trailers"), ("Trailer", "X"), ("A", "1")], [("A", "1")], id="trailers"),
        pytest.param([("Upgrade", "h2c"), ("A", "1")], [("A", "1")], id="upgrade"),
        pytest.param([("Proxy-Connection", "close"), ("Proxy-Authenticate", "x")], [], id="proxy"),
        pytest.param([("Connection", "X-Hop, close"), ("x-hop", "1"), ("A", "1")], [("A", "1")], id="named"),
        pytest.param([("Connection", "a"), ("connection", "b"), ("A", "1"), ("B", "2")], [], id="named in two fields"),
        pytest.param([("Transfer-Encoding", "chunked"), ("Content-Length", "3")], [], id="chunking beats length"),
        pytest.param([("Content-Length", "3")], [("Content-Length", "3")], id="length"),
        pytest.param(
            [("X-A", "1"), ("x-a", "2"), ("X-A", "1")], [("X-A", "1"), ("x-a", "2"), ("X-A", "1")], id="repeats"
        ),
        pytest.param(
            [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")], [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")], id="cookies"
        ),
    ],
)
def test_fields_of_one_hop_stay_on_it(given: list[tuple[str, str]], kept: list[tuple[str, str]]) -> None:
    assert list(to_client(headers(*given)).items()) == kept
    passed = to_upstream(headers(*given), client=None, scheme="http", host=None, prefix="")
    assert list(passed.items()) == [*kept, ("X-Forwarded-Proto", "http")]


@pytest.mark.parametrize("name", ["Authorization", "cookie", "Host", "Expect", "Proxy-Authorization", "Proxy-Anything"])
def test_container_does_not_see(name: str) -> None:
    passed = to_upstream(headers((name, "x")), client=None, scheme="http", host="h", prefix="")
    assert name not in passed


def test_client_is_appended_to_the_chain_of_proxies() -> None:
    given = headers(("X-Forwarded-For", "192.0.2.1, 192.0.2.2"), ("x-forwarded-for", "192.0.2.3"))
    passed = to_upstream(given, client="192.0.2.4", scheme="http", host="h", prefix="")
    assert passed.getall("X-Forwarded-For") == ["192.0.2.1, 192.0.2.2, 192.0.2.3, 192.0.2.4"]


def test_container_learns_how_it_was_addressed() -> None:
    passed = to_upstream(
        headers(), client="::1", scheme="https", host="gateway.test:8080", prefix="/api/projects/a/acp"
    )
    assert list(passed.items()) == [
        ("X-Forwarded-For", "::1"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "gateway.test:8080"),
        ("X-Forwarded-Prefix", "/api/projects/a/acp"),
    ]


def test_client_cannot_say_how_it_was_addressed() -> None:
    forged = headers(("X-Forwarded-Proto", "https"), ("x-forwarded-host", "evil"), ("X-Forwarded-Prefix", "/evil"))
    passed = to_upstream(forged, client=None, scheme="http", host="h", prefix="")
    assert dict(passed) == {"X-Forwarded-Proto": "http", "X-Forwarded-Host": "h"}


def test_given_headers_are_left_as_they_were() -> None:
    given = headers(("Authorization", "x"), ("X-Forwarded-For", "192.0.2.1"))
    to_upstream(given, client="192.0.2.4", scheme="http", host="h", prefix="")
    assert list(given.items()) == [("Authorization", "x"), ("X-Forwarded-For", "192.0.2.1")]
