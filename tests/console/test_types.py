"""The console's declarations of types say what the gateway tells: a checker believes them."""

import re
from pathlib import Path

import attrs
import pytest

from gateway.ingest import translate
from gateway.web.handlers import shapes
from gateway.wire.codec import to_camel
from gateway.wire.events import EventData

CONSOLE = Path(shapes.__file__).parents[1] / "console"
DECLARED = (CONSOLE / "types.d.ts").read_text()
#: What the declarations call otherwise than the API, where the console has a class of that name.
RENAMED = {"ToldTurn": "Turn"}
INTERFACES: dict[str, str] = dict(re.findall(r"^export interface (\w+) \{\n(.*?)^\}", DECLARED, re.M | re.S))
ANSWERS = sorted(name for name in INTERFACES if hasattr(shapes, RENAMED.get(name, name)))


def members_of(text: str) -> set[str]:
    return set(re.findall(r"^    (\w+)\??:", text, re.M))


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_has_every_member_that_is_declared_of_it(name: str) -> None:
    shape = getattr(shapes, RENAMED.get(name, name))
    assert members_of(INTERFACES[name]) <= {to_camel(field.name) for field in attrs.fields(shape)}


def test_what_the_console_reads_is_declared() -> None:
    assert {"Agent", "AuthStatus", "Credential", "LoginBegun", "Permission", "Project", "Session", "Snapshot"} <= set(
        ANSWERS
    )


def test_every_type_of_event_is_declared() -> None:
    declared = re.findall(r"(?:Said|Each)<((?:[\s|]*\"\w+\")+),", DECLARED)
    types = {type for some in declared for type in re.findall(r"\"(\w+)\"", some)}
    assert types == {kind.type for kind in EventData.__subclasses__()} | translate.PASSED_ON


@pytest.mark.parametrize("kind", list(EventData.__subclasses__()), ids=lambda kind: kind.type)
def test_an_event_has_every_member_that_is_declared_of_it(kind: type[EventData]) -> None:
    found = re.search(rf"(?:Said|Each)<[^,]*\"{kind.type}\"[^,]*,\s*(?:\{{([^}}]*)\}}|(\w+))\s*>", DECLARED)
    assert found is not None
    inline, named = found.groups()
    members = set(re.findall(r"(\w+)\??:", inline)) if inline else members_of(INTERFACES.get(named, ""))
    assert members <= {to_camel(field.name).rstrip("_") for field in attrs.fields(kind)}
