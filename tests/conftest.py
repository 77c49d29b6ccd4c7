"""A real PostgreSQL for the tests that want one, and a fresh migrated database for each of them.

The embedded one is started once for the whole run; ``ACP_GATEWAY_TEST_DATABASE_URL`` names another server to use
instead (its user must be allowed to create databases), and ``ACP_GATEWAY_TEST_POSTGRES`` the directory of other
programs for all servers that tests start. Nothing here belongs to an event loop but ``database``.
"""

import gc
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import psycopg2
import pytest
from hypothesis import HealthCheck, settings
from playwright.async_api import Browser
from psycopg2 import sql

from gateway.agenthost.app import AgentHostConfig
from gateway.agenthost.app import build_app as build_agent_host
from gateway.db.embedded import EmbeddedPostgres
from gateway.db.migrate import migrate
from gateway.db.pool import Database
from gateway.server.run import bind, serving
from tests import leaks, machine, postgres
from tests.agenthost.hosts import scripted
from tests.browsers import chromium_running, connected
from tests.fakes.container import FakeContainer
from tests.leaks import _watch_for_leaks  # noqa: F401 - a fixture for every test
from tests.world import QUICK, Gateway, GatewayProcess, Project

# Tests start hundreds of Python processes, and each would spend half of its start on compiling.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
# Each PostgreSQL that tests start, as in benchmarks.
postgres.use_chosen(os.environ)
# No test asks a public host, and aiohttp reads the machine's certificate authorities, twice, when it is imported.
os.environ["SSL_CERT_FILE"] = os.devnull

# How long an example takes says nothing about a rule, on a machine that has other work.
settings.register_profile("any machine", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

_NUMBERS = count(1)
#: How the names of test runs' directories begin, before the id of the process.
DIRECTORIES = "acp-gateway-tests-"

HERE = Path(__file__).parent
#: Real programs of others, and what tries many things for a minute. A worker begins with its share of them:
#: at its end it can give away what it has not begun, but not wait for less than its longest test.
SLOW = ("apidoc/test_conformance.py", "bounds/", "chaos/", "oauth/test_real_server.py", "opencode/", "realagents/")

#: Versions that run on Node 20. The parser is the one that the client uses.
EVENTSOURCE = ("eventsource@4.1.1", "eventsource-parser@3.1.1")
#: The specification of Markdown, with its examples.
COMMONMARK = "commonmark-spec@0.31.2"
#: What looks for barriers in the console.
AXE = "axe-core@4.14.1"
#: Node 24 comes as a package of its own: the server wants 22 or later.
NODE_PACKAGE = f"node-linux-{'arm64' if platform.machine() == 'aarch64' else 'x64'}"
OIDC_PROVIDER = (f"{NODE_PACKAGE}@24.21.0", "oidc-provider@9.13.3")
#: Fixtures that give what a machine may lack: what it is called, and how it is found.
FROM_THE_MACHINE: dict[str, tuple[str, Callable[[], Path]]] = {
    "node": ("Node.js", lambda: machine.program("node", "install Node.js 20.19 or later")),
    "eventsource_packages": ("npm's eventsource", lambda: machine.npm_packages("-".join(EVENTSOURCE), *EVENTSOURCE)),
    "commonmark_package": (f"npm's {COMMONMARK}", lambda: machine.npm_packages(COMMONMARK, COMMONMARK)),
    "axe_packages": ("npm's axe-core", lambda: machine.npm_packages(AXE, AXE)),
    "oidc_provider_packages": (
        "npm's oidc-provider",
        lambda: machine.npm_packages("-".join(OIDC_PROVIDER).replace("@", "-"), *OIDC_PROVIDER),
    ),
    "chromium": ("Chromium", lambda: machine.program("chromium", "on Debian: apt-get install chromium")),
    "caddy_program": ("Caddy", lambda: machine.program("caddy", "on Debian: apt-get install caddy")),
    "prometheus_program": (
        "Prometheus",
        lambda: machine.program("prometheus", "on Debian: apt-get install prometheus"),
    ),
    "promtool": ("promtool", lambda: machine.program("promtool", "on Debian: apt-get install prometheus")),
    "postgres_programs": ("PostgreSQL of Debian", postgres.of_debian),
    "pgbouncer_program": ("PgBouncer", lambda: machine.program("pgbouncer", "on Debian: apt-get install pgbouncer")),
    "nginx_program": ("nginx", lambda: machine.program("nginx", "on Debian: apt-get install nginx-light")),
}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    slow, others = [], []
    for item in items:
        if item.path.is_relative_to(HERE) and item.path.relative_to(HERE).as_posix().startswith(SLOW):
            item.add_marker("slow")
            slow.append(item)
        else:
            others.append(item)
    workers = getattr(config, "workerinput", {}).get("workercount", 1)
    items.clear()
    for number in range(workers):
        items += _share(slow, number, workers) + _share(others, number, workers)


def _share(items: list[pytest.Item], number: int, count: int) -> list[pytest.Item]:
    """One of so many parts of about one size, in one piece, as a module's tests share what takes long to make."""
    return items[len(items) * number // count : len(items) * (number + 1) // count]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """More than there are processors: for half of its time a test waits."""
    return 2 * len(os.sched_getaffinity(0))


def pytest_collection_finish(session: pytest.Session) -> None:
    # What collecting made stays to the end; the garbage collector would take a second to walk it, every few tests.
    gc.collect()
    gc.freeze()
    wanted = {name for item in session.items for name in getattr(item, "fixturenames", ())}
    for name in FROM_THE_MACHINE.keys() & wanted if not session.config.option.collectonly else ():
        machine.look_for(session.config, *FROM_THE_MACHINE[name])


def pytest_runtest_setup() -> None:
    leaks.begin()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if call.when == "teardown" and (leak := leaks.found(report)):
        report.outcome, report.longrepr = "failed", leak
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    machine.tell_what_is_missing(terminalreporter, config)


@pytest.fixture(scope="session")
def node(request: pytest.FixtureRequest) -> Path:
    """The program ``node``."""
    return from_the_machine(request, "node")


@pytest.fixture(scope="session")
def eventsource_packages(request: pytest.FixtureRequest) -> Path:
    """A folder whose ``node_modules`` has ``eventsource`` and ``eventsource-parser``."""
    return from_the_machine(request, "eventsource_packages")


@pytest.fixture(scope="session")
def commonmark_package(request: pytest.FixtureRequest) -> Path:
    """A folder whose ``node_modules`` has ``commonmark-spec``."""
    return from_the_machine(request, "commonmark_package")


@pytest.fixture(scope="session")
def axe_packages(request: pytest.FixtureRequest) -> Path:
    """A folder whose ``node_modules`` has ``axe-core``."""
    return from_the_machine(request, "axe_packages")


@pytest.fixture(scope="session")
def oidc_provider_packages(request: pytest.FixtureRequest) -> Path:
    """A folder whose ``node_modules`` has npm's ``oidc-provider``, and a Node that runs it."""
    return from_the_machine(request, "oidc_provider_packages")


@pytest.fixture(scope="session")
def chromium(request: pytest.FixtureRequest) -> Path:
    """The program of a real browser."""
    return from_the_machine(request, "chromium")


@pytest.fixture(scope="session")
def running_chromium(chromium: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a browser takes orders that runs for all tests."""
    with pytest.MonkeyPatch.context() as patch:
        # Each test starts Playwright's own Node.js: what the first has compiled, the others read.
        patch.setenv("NODE_COMPILE_CACHE", str(tmp_path_factory.mktemp("node")))
        with chromium_running(chromium, tmp_path_factory.mktemp("chromium")) as address:
            yield address


@pytest.fixture
async def running_browser(running_chromium: str) -> AsyncIterator[Browser]:
    """That browser, for one test's windows."""
    async with connected(running_chromium) as browser:
        yield browser


@pytest.fixture(scope="session")
def nginx_program(request: pytest.FixtureRequest) -> Path:
    """The program ``nginx``."""
    return from_the_machine(request, "nginx_program")


@pytest.fixture(scope="session")
def prometheus_program(request: pytest.FixtureRequest) -> Path:
    """The program ``prometheus``."""
    return from_the_machine(request, "prometheus_program")


@pytest.fixture(scope="session")
def postgres_programs(request: pytest.FixtureRequest) -> Path:
    """The directory of a PostgreSQL as people run it: Debian's, with JIT."""
    return from_the_machine(request, "postgres_programs")


@pytest.fixture(scope="session")
def pgbouncer_program(request: pytest.FixtureRequest) -> Path:
    """The program ``pgbouncer``."""
    return from_the_machine(request, "pgbouncer_program")


@pytest.fixture(scope="session")
def promtool(request: pytest.FixtureRequest) -> Path:
    """The program ``promtool``."""
    return from_the_machine(request, "promtool")


@pytest.fixture(scope="session")
def caddy_program(request: pytest.FixtureRequest) -> Path:
    """The program ``caddy``."""
    return from_the_machine(request, "caddy_program")


def from_the_machine(request: pytest.FixtureRequest, fixture: str) -> Path:
    path: Path = machine.found(request, FROM_THE_MACHINE[fixture][0])
    return path


def with_database(url: str, name: str) -> str:
    """The same server, another database."""
    return urlsplit(url)._replace(path=f"/{name}").geturl()


def administer(url: str, statement: str, *names: str) -> None:
    """Run a statement that PostgreSQL wants outside of transactions; ``{}`` stands for a name."""
    connection = psycopg2.connect(url)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))
    finally:
        connection.close()


def _memory() -> str | None:
    shared = "/dev/shm"
    roomy = os.access(shared, os.W_OK) and shutil.disk_usage(shared).free > 2**31
    return shared if roomy else None


@pytest.fixture(scope="session")
def session_directory() -> Iterator[Path]:
    """A directory that PostgreSQL's user may enter when root runs the tests; pytest's own are closed to others.

    In memory where there is room: a database for each test then takes a tenth of the time.
    """
    memory = _memory()
    if memory is not None:
        _remove_abandoned(Path(memory))
    with _directory(f"{DIRECTORIES}{os.getpid()}-", memory) as directory:
        yield directory


@pytest.fixture(scope="module")
def module_directory(session_directory: Path) -> Iterator[Path]:
    """Another, for what a file's tests share."""
    with _directory("module-", session_directory) as directory:
        yield directory


@pytest.fixture
def open_directory(session_directory: Path) -> Iterator[Path]:
    """Another, for one test."""
    with _directory("test-", session_directory) as directory:
        yield directory


@contextmanager
def _directory(prefix: str, parent: str | Path | None) -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    directory.chmod(0o755)
    yield directory
    # What is in memory must not stay there: forty megabytes for each data directory.
    shutil.rmtree(directory, ignore_errors=True)


def _remove_abandoned(memory: Path) -> None:
    """What test runs that were killed have left in memory."""
    for left in memory.glob(f"{DIRECTORIES}*-*"):
        owner = left.name.removeprefix(DIRECTORIES).partition("-")[0]
        if not (owner.isdigit() and psutil.pid_exists(int(owner))):
            shutil.rmtree(left, ignore_errors=True)


@pytest.fixture(scope="session")
def server_url(session_directory: Path) -> Iterator[str]:
    """A PostgreSQL server whose administrator we are."""
    given = os.environ.get("ACP_GATEWAY_TEST_DATABASE_URL")
    if given:
        yield given
        return
    # What a test stores need not survive the machine's power supply.
    server = EmbeddedPostgres.start(
        session_directory / "data", settings={"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}
    )
    yield server.url
    server.stop()


@pytest.fixture(scope="session")
def template_database(server_url: str) -> Iterator[str]:
    """The name of a migrated database that nobody is connected to, for ``create database … template``."""
    name = f"acp_gateway_template_{os.getpid()}"
    administer(server_url, "create database {}", name)
    migrate(with_database(server_url, name))
    yield name
    administer(server_url, "drop database {} with (force)", name)


@pytest.fixture
def database_url(server_url: str, template_database: str) -> Iterator[str]:
    """The URL of a migrated, empty database of the test's own."""
    name = f"acp_gateway_test_{os.getpid()}_{next(_NUMBERS)}"
    administer(server_url, "create database {} template {}", name, template_database)
    yield with_database(server_url, name)
    administer(server_url, "drop database {} with (force)", name)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """That database, opened."""
    async with await Database.open(database_url) as opened:
        yield opened


@pytest.fixture
async def gateway(database_url: str) -> AsyncIterator[Gateway]:
    """A running gateway on a database of its own."""
    async with GatewayProcess(database_url, QUICK).run() as running:
        yield running


@pytest.fixture
async def agent_host(tmp_path: Path) -> AsyncIterator[str]:
    """The address of a running agent host, whose workspace is ``tmp_path/workspace``."""
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    async with _hosting(workspace) as address:
        yield address


@pytest.fixture
async def scripted_host(tmp_path: Path) -> AsyncIterator[str]:
    """The address of another, whose agent ``scripted`` does, word for word, what a prompt tells it to."""
    workspace = tmp_path / "scripted"
    workspace.mkdir()
    async with _hosting(workspace, catalogue={"scripted": scripted()}) as address:
        yield address


@asynccontextmanager
async def _hosting(workspace: Path, **settings: Any) -> AsyncIterator[str]:
    app = build_agent_host(AgentHostConfig(workspace=workspace, environment=dict(os.environ), **settings))
    sock = bind("127.0.0.1", 0, purpose="the test's agent host", option="")
    async with serving(app, sock, shutdown_timeout=2):
        yield f"http://127.0.0.1:{sock.getsockname()[1]}"


@pytest.fixture
async def base_container() -> AsyncIterator[FakeContainer]:
    """A container that speaks the base contract only."""
    async with FakeContainer() as container:
        yield container


@pytest.fixture(params=["agent-host", "base-contract"])
def container_url(request: pytest.FixtureRequest) -> str:
    """The ACP address of a container, of each kind in turn."""
    if request.param == "agent-host":
        address: str = request.getfixturevalue("agent_host")
        return address
    container: FakeContainer = request.getfixturevalue("base_container")
    return container.url


@pytest.fixture
async def project(gateway: Gateway, container_url: str) -> Project:
    """A project in front of a container, of each kind in turn; its agent ``demo`` does what the prompt says."""
    return await gateway.register(container_url, defaultAgentId="demo")
