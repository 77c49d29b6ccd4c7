"""Imports point down, never up: what each room may import, read from the source."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "gateway"

#: From the ground up. A room may import what stands on a lower floor, or itself.
FLOORS: list[set[str]] = [
    {"errors", "wire", "tasks", "roles", "heads", "slices"},
    {"telemetry"},
    {"config"},
    {"loading"},
    {"settings"},
    {"db", "proxy"},
    {"remains", "addresses", "credentials"},
    {"projects", "container", "identity", "limits", "bodies"},
    {"log"},
    {"oauth"},
    {"sessions"},
    {"apidoc"},
    {"health", "figures", "tracing"},
    {"keys"},
    {"handlers", "middleware"},
    {"routes"},
    {"app"},
    {"accepting", "logs", "agenthost", "client", "parsing", "local_access"},
    {"serving", "terminal"},
    {"worker"},
    {"supervisor"},
    {"registration"},
    {"commands"},
    {"administration", "rotation"},
    {"cli"},
    {"__main__"},
]
#: Rooms that could be lifted out, and all they may know.
NARROW = {
    "wire": set(),
    "errors": set(),
    "tasks": set(),
    "proxy": {"errors"},
    "db": {"errors"},
    "agenthost": {"wire", "errors", "tasks"},
    "client": {"wire", "errors"},
    "local_access": {"errors"},
}
#: Foreign packages with the rooms that may use them.
OWNED = {
    "aiopg": {"db"},
    "psycopg2": {"db"},
    "yoyo": {"db"},
    "nacl": {"credentials"},
    "jwt": {"identity"},
    "aiolimiter": {"limits"},
    "opentelemetry": {"telemetry"},
    "prometheus_client": {"telemetry", "handlers"},
    "aiohttp_sse": {"handlers", "agenthost"},
    # For tests. Importing their models costs a second of CPU in every process.
    "acp": set(),
    "pydantic": set(),
}
FLOOR = {room: height for height, rooms in enumerate(FLOORS) for room in rooms}


def room_of(module: Path) -> str:
    return module.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(module: Path) -> set[tuple[str, ...]]:
    names = set()
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(tuple(alias.name.split(".")) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import"
            base = tuple((node.module or "").split("."))
            names.update((*base, alias.name) if base == ("gateway",) else base for alias in node.names)
    return names


MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(module: Path) -> None:
    room = room_of(module)
    for name in imports_of(module):
        if name[0] != "gateway" or name[1].startswith("__version"):
            continue
        target = name[1]
        assert target == room or FLOOR[target] < FLOOR[room], f"{room} imports {target}"
        assert target == room or target in NARROW.get(room, FLOOR), f"{room} is to know nothing of {target}"


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_foreign_package_stays_in_its_room(module: Path) -> None:
    for name in imports_of(module):
        assert room_of(module) in OWNED.get(name[0], {room_of(module)}), f"{name[0]} in {room_of(module)}"


def test_only_the_configuration_reads_the_environment() -> None:
    for module in MODULES:
        tree = ast.parse(module.read_text(encoding="utf-8"))
        reads = [
            node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv")
        ]
        # The demo agent is a program of its own, which finds its place in its environment like any agent.
        allowed = module.name == "loading.py" or module.parent == PACKAGE / "agenthost" / "demo"
        assert not reads or allowed, f"{module} reads the environment"


def test_only_the_log_appends() -> None:
    for module in MODULES:
        if module != PACKAGE / "log" / "store.py":
            assert '"append_events"' not in module.read_text(encoding="utf-8"), f"{module} appends"
