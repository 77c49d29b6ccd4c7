"""Imports point down, never up: what each room may import, read from the source."""

import ast
import re
from functools import cache
from pathlib import Path

from tests.sources import PACKAGE, modules, tree

PAGE = (PACKAGE.parent / "docs" / "architecture.md").read_text("utf-8")
#: From the ground up, as the page has them. A room may import what stands on a lower floor, or itself.
FLOORS = [
    set(re.findall(r"`(\w+)`", rooms))
    for _, rooms in reversed(re.findall(r"^\| (\d+) \| (.+) \|$", PAGE, re.MULTILINE))
]
#: Rooms that could be lifted out, and all they may know.
NARROW = {
    "wire": set(),
    "errors": set(),
    "tasks": set(),
    "proxy": {"errors"},
    "db": {"errors", "tasks"},
    "agenthost": {"wire", "errors", "tasks"},
}
#: Foreign packages with the rooms that may use them.
OWNED = {
    "aiopg": {"db"},
    "psycopg2": {"db"},
    "yoyo": {"db"},
    "nacl": {"credentials"},
    "jwt": {"identity"},
    "aiolimiter": {"projects"},
    "opentelemetry": {"telemetry"},
    "prometheus_client": {"telemetry", "web"},
    "aiohttp_sse": {"agenthost", "web"},
    # The client of a running gateway, which the commands for people use: a distribution of its own, in client/.
    "acp_session_gateway_client": {"cli"},
    # For tests. Importing their models costs a second of CPU in every process.
    "acp": set(),
    "pydantic": set(),
}
FLOOR = {room: height for height, rooms in enumerate(FLOORS) for room in rooms}


def room_of(module: Path) -> str:
    return module.relative_to(PACKAGE).parts[0].removesuffix(".py")


@cache
def imports_of(module: Path) -> set[tuple[str, ...]]:
    names = set()
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            names.update(tuple(alias.name.split(".")) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import"
            base = tuple((node.module or "").split("."))
            names.update((*base, alias.name) if base == ("gateway",) else base for alias in node.names)
    return names


MODULES = [path for path in modules() if path != PACKAGE / "__init__.py"]


def test_imports_point_down() -> None:
    wrong = []
    for module in MODULES:
        room, where = room_of(module), module.relative_to(PACKAGE)
        for name in imports_of(module):
            if name[0] != "gateway" or name[1].startswith("__version") or name[1] == room:
                continue
            target = name[1]
            if FLOOR[target] >= FLOOR[room]:
                wrong.append(f"{where} imports {target}, which is no lower than {room}")
            if target not in NARROW.get(room, FLOOR):
                wrong.append(f"{where} imports {target}: {room} is to know nothing of it")
    assert not wrong


def test_a_foreign_package_stays_in_its_room() -> None:
    assert not [
        f"{module.relative_to(PACKAGE)} imports {name[0]}"
        for module in MODULES
        for name in imports_of(module)
        if room_of(module) not in OWNED.get(name[0], {room_of(module)})
    ]


def test_only_the_configuration_reads_the_environment() -> None:
    for module in MODULES:
        nodes = ast.walk(tree(module))
        reads = [node for node in nodes if isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv")]
        # The demo agent is a program of its own, which finds its place in its environment like any agent.
        allowed = module == PACKAGE / "config" / "load.py" or module.parent == PACKAGE / "agenthost" / "demo"
        assert not reads or allowed, f"{module} reads the environment"


def test_only_the_log_appends() -> None:
    for module in MODULES:
        if module != PACKAGE / "log" / "store.py":
            text = module.read_text(encoding="utf-8")
            assert not {'"append_events"', '"append_series"'} & set(re.findall(r'"\w+"', text)), f"{module} appends"


def test_what_a_container_can_is_asked_in_one_room() -> None:
    # Of a link of the agent host's they are an agent's; the lease keeps a container's for other gateways.
    allowed = {PACKAGE / "follow" / "lease.py"}
    for module in MODULES:
        reads = [
            node for node in ast.walk(tree(module)) if isinstance(node, ast.Attribute) and node.attr == "capabilities"
        ]
        assert not reads or module in allowed or room_of(module) in ("agenthost", "container"), module


def test_no_file_of_tests_imports_from_another() -> None:
    files = sorted(Path(__file__).parent.rglob("test_*.py"))
    assert not [
        f"{file.name} imports {'.'.join(name)}"
        for file in files
        for name in imports_of(file)
        if name[0] == "tests" and any(part.startswith("test_") for part in name)
    ]


def test_nobody_has_the_reader_of_mail_read_what_a_stranger_sends() -> None:
    # aiohttp's properties use it: a `Content-Type` of 8 KB takes it seconds, or as deep as Python goes.
    slow = {"content_type", "charset", "post", "json", "text", "multipart"}
    for module in MODULES:
        for node in ast.walk(tree(module)):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "request":
                assert node.attr not in slow, f"{module}:{node.lineno} has request.{node.attr}; see wire.media"


def test_the_page_on_the_architecture_names_what_is_there() -> None:
    rooms = {room_of(module) for module in MODULES}
    assert sorted(room for floor in FLOORS for room in floor) == sorted(rooms)
    described = re.findall(r"^\| ((?:`\w+` ?)+) \| ", PAGE, re.MULTILINE)
    assert {name for names in described for name in re.findall(r"`(\w+)`", names)} == rooms - {"__main__"}
    named = set(re.findall(r"`(gateway/[\w/]+\.py)`", PAGE))
    assert len(named) > 30
    assert {path for path in named if not (PACKAGE.parent / path).is_file()} == set()
