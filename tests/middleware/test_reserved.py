"""What a container's ACP port is not asked on anybody's behalf, however it is spelled; all else passes as it is."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import Forbidden
from gateway.web.middleware.reserved import RESERVED, named_session
from tests.middleware.conftest import Ports

PROJECT = "/api/projects/demo"
EACH = [reserved.replace("*", "x") for reserved in RESERVED]


def spellings(path: str) -> list[str]:
    """What one server or another takes for ``path``."""
    head, _, tail = path.rpartition("/")
    return [
        f"/{path}/",
        f"//{path}",
        f"//host/{path}",
        f"/{head}//{tail}",
        f"/{path.title()}",
        f"/{path.upper()}/",
        f"/./{path}",
        f"/{head}/./{tail}",
        f"/{head}/y/../{tail}",
        f"/y/../{path}",
        f"/y/%2e%2e/{path}",
        f"/y/.%2E/{path}",
        f"/%2e/{path}",
        f"/{head}/%{ord(tail[0]):02x}{tail[1:]}",
        f"/%{ord(path[0]):02X}{path[1:]}",
        f"/%25{ord(path[0]):02X}{path[1:]}",
        f"/%2525{ord(path[0]):02X}{path[1:]}",
        f"/{path.replace('/', '%2F')}",
        f"/{path.replace('/', '%5c')}",
        "/" + path.replace("/", "\\"),
        f"/{path};v=1",
        f"/{path}%3Fx=1",
        f"/{path}%23",
        f"/{path}#x",
        f"/{path}%00",
        f"/{path}%0d%09",
        f"/{path}/?x=/../y",
    ]


@pytest.mark.parametrize("path", EACH)
async def test_no_spelling_of_what_is_reserved_reaches_the_container(ports: Ports, path: str) -> None:
    # Of a method that no route of the gateway has: the others find it in some of these spellings, too.
    for target in (f"/{path}", f"/{path}/below", *spellings(path)):
        answer = await ports.ask(f"PUT {PROJECT}/acp{target}")
        assert (answer.status, json.loads(answer.body)["code"]) == (403, "forbidden"), target
    assert ports.acp.requests == ports.opencode.requests == []


HARMLESS = [
    "/",
    "//",
    "/health",
    "/Health/",
    "/files/sessions",
    "/sessionsx/",
    "/stats/session",
    "/agents/x/status/y",
    "/agents/x/models",
    "/files/agents/x/spawn",
    "/files/session/%C3%BCber%20uns",
    "/a%2Fb//..//c%2525?session/x/prompt=/agents/x/spawn",
    "/%00/%ff",
]


async def test_what_is_not_reserved_reaches_it_byte_for_byte(ports: Ports) -> None:
    for target in HARMLESS:
        answer = await ports.ask(f"PUT {PROJECT}/acp{target}")
        assert (answer.status, answer.one("Server")) == (200, "acp"), target
        assert ports.acp.requests[-1].target == target


async def test_the_opencode_port_has_nothing_reserved(ports: Ports) -> None:
    for path in EACH:
        await ports.ask(f"PUT {PROJECT}/opencode/{path}")
        assert ports.opencode.requests[-1].target == f"/{path}"


async def test_below_a_session_only_one_that_the_gateway_knows_is_reached(ports: Ports) -> None:
    for target in ("/session/x", "/session/x/mode", "/session/x/config/y", "/session/a%20b/mode", "/session/x/Mode"):
        answer = await ports.ask(f"PUT {PROJECT}/acp{target}")
        assert (answer.status, json.loads(answer.body)["code"]) == (404, "session_not_found"), target
    assert ports.acp.requests == []


def encoded(name: str, drawn: st.DataObject) -> str:
    """``name`` with some of its characters percent-encoded, once or twice, and in either case."""
    said = ""
    for character in name:
        how = drawn.draw(st.sampled_from(["{0}", "{0}", "%{1:02x}", "%{1:02X}", "%25{1:02x}", "{2}"]))
        said += how.format(character, ord(character), character.swapcase())
    return said


@given(path=st.sampled_from(EACH), drawn=st.data())
def test_whatever_spelling_is_chosen_it_stays_refused(path: str, drawn: st.DataObject) -> None:
    target = drawn.draw(st.sampled_from(["", "/", "/y/..", "/.", "/%2e", "//host"]))
    for name in path.split("/"):
        between = drawn.draw(st.sampled_from(["/", "//", "/./", "/y/../", "/%2E/", "\\", "%2f", "%5C", "%252f"]))
        after = drawn.draw(st.sampled_from(["", "", "", ";a", "%3bb=1", "%00", "\t"]))
        target += between + (name if name == "x" else encoded(name, drawn)) + after
    target += drawn.draw(st.sampled_from(["", "/", "/below", "?x=1", "#x", "%3F", "/.", "//"]))
    with pytest.raises(Forbidden):
        named_session(target)


@given(st.text(alphabet="/\\.%25SsEe;#?ſ xX", max_size=40))
def test_no_path_is_too_odd_to_be_decided(path: str) -> None:
    with suppress(Forbidden):
        named_session(f"/{path}")


@pytest.mark.parametrize("depth", [1, 5, 2000])
def test_a_path_that_is_encoded_many_times_over_is_refused_without_much_work(depth: int) -> None:
    with pytest.raises(Forbidden):
        named_session(f"/%{'25' * depth}73ession/x/prompt")
