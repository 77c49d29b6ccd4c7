"""The README and ``docs/`` against the programs: what they show works when pasted, what they list is all there is."""

import argparse
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.agenthost import catalogue
from gateway.app import build_app
from gateway.cli.main import COMMANDS
from gateway.config.load import CLIENT_VARIABLES, variables
from gateway.config.schema import Config
from gateway.credentials import catalogue as credentials
from gateway.errors import GatewayError
from gateway.ingest import translate
from gateway.wire.events import EventData
from tests.everything import all_of
from tests.program import Place

ROOT = Path(__file__).parents[1]
README, QUICKSTART, API = ROOT / "README.md", ROOT / "docs" / "quickstart.md", ROOT / "docs" / "api.md"
AGENTS, CLI, OPERATIONS = ROOT / "docs" / "agents.md", ROOT / "docs" / "cli.md", ROOT / "docs" / "operations.md"
PAGES = (README, *sorted((ROOT / "docs").glob("*.md")))
#: Pages whose examples are run, and how many blocks of them there are at least.
EXAMPLES = {README: 3, QUICKSTART: 7, API: 7}
#: What the page on operations shows as variables that only look like settings.
NO_SETTINGS = {"ACP_GATEWAY_IDENTITY_MODE", "ACP_GATEWAY_SERVICE_HOST", "ACP_GATEWAY_PORT"}
#: A stream goes on for ever, which ``-N`` stands for; everything else must succeed.
CURL = """
curl() {
    case " $* " in
        *" -sN "*) command curl --max-time 2 "$@" || [ $? = 28 ] ;;
        *) command curl --fail --show-error --max-time 60 "$@" ;;
    esac
}
"""


@pytest.fixture(scope="module")
def place(module_directory: Path) -> Iterator[Place]:
    """A running ``acp-gateway up``."""
    place = Place.make(module_directory / "readme")
    with place.up():
        yield place


@pytest.mark.parametrize("page", EXAMPLES, ids=lambda page: page.name)
def test_the_examples_work_when_pasted_one_after_the_other(page: Path, place: Place) -> None:
    examples = re.findall(r"^```bash\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
    assert len(examples) >= EXAMPLES[page]
    script = CURL + "\n".join(examples).replace("127.0.0.1:8080", f"127.0.0.1:{place.port}")
    done = subprocess.run(
        ["bash", "-eu", "-o", "pipefail"],
        input=script,
        capture_output=True,
        text=True,
        timeout=100,
        env={"PATH": os.environ["PATH"]},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert '"state":"completed"' in done.stdout
    assert "event: turn_ended" in done.stdout
    assert page != API or '"type":"server.connected"' in done.stdout


def test_every_error_that_a_caller_can_meet_is_in_the_reference() -> None:
    # An agent host has a few of the same codes, with statuses of its own.
    listed = set(re.findall(r"^\| `([a-z_]+)` \| (\d+|any) \|", API.read_text(), re.MULTILINE))
    at_start = {"config_error", "start_error", "migration_failed", "usage_error", "token_not_found"}
    codes = {(error.code, str(error.status)) for error in all_of(GatewayError) if error.code not in at_start}
    assert listed == codes | {("http_error", "any"), ("head_too_large", "431")}
    assert all(f"`{code}`" in API.read_text() for code in at_start)


def test_every_kind_of_event_is_in_the_reference() -> None:
    section = API.read_text().split("## Events")[1].split("## Permissions")[0]
    listed = re.findall(r"^\| `([a-z_]+)` \|", section, re.MULTILINE)
    own = {kind.type for kind in all_of(EventData) if kind is not EventData}
    assert sorted(listed) == sorted(own | translate.PASSED_ON)


def test_every_failure_of_a_turn_is_in_the_reference() -> None:
    source = "".join(path.read_text() for path in (ROOT / "gateway").rglob("*.py"))
    failures = set(re.findall(r"\bfailure\s*=\s*\"([a-z_]+)\"", source))
    assert len(failures) > 4
    assert {failure for failure in failures if f"`{failure}`" not in API.read_text()} == set()


def test_every_route_is_in_the_reference() -> None:
    shown = re.findall(r"`([A-Z]+) …?(/[^\s`?]*)", API.read_text())
    listed = {(method, _unnamed(path)) for method, path in shown}
    for route in build_app(Config()).router.routes():
        # Any method is passthrough, or the bare path that answers 501; HEAD goes with GET.
        if route.method not in ("*", "HEAD"):
            assert route.resource is not None
            path = _unnamed(route.resource.canonical)
            assert (route.method, path.replace("/api/projects/{}/acp", "/acp")) in listed


def _unnamed(path: str) -> str:
    return re.sub(r"\{\w+\}", "{}", path)


def test_every_agent_of_the_catalogue_is_listed_with_its_variables() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \| [^|]+ \| ([^|]+) \|$", AGENTS.read_text(), re.MULTILINE)
    listed = {agent: tuple(re.findall(r"`(\w+)`", credentials)) for agent, credentials in rows}
    assert listed == {agent.id: tuple(agent.credentials) for agent in catalogue.BUILT_IN.values()}


def test_the_catalogue_of_ones_own_that_is_shown_loads(tmp_path: Path) -> None:
    ways, agents = re.findall(r"^```toml\n(.*?)^```", AGENTS.read_text(), re.DOTALL | re.MULTILINE)
    (tmp_path / "agents.toml").write_text(agents)
    assert "my-agent" in catalogue.load(tmp_path / "agents.toml")
    (tmp_path / "ways.toml").write_text(ways)
    given = credentials.load(tmp_path / "ways.toml").injection("my-agent", credentials.API_KEY, "secret")
    assert given is not None
    assert given.env == {"MY_AGENT_API_KEY": "secret"}


def test_every_command_is_documented() -> None:
    parser = argparse.ArgumentParser()
    group = parser.add_subparsers()
    for module in COMMANDS:
        module.add(group)
    commands = {name for name, command in group.choices.items() if command.get_default("run")}
    assert len(commands) == 4
    assert {command for command in commands if f"`acp-gateway {command}" not in CLI.read_text()} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_variables_that_are_named_exist(page: Path) -> None:
    named = set(re.findall(r"ACP_GATEWAY_(?!TEST_|PROVIDERS_)[A-Z_]+[A-Z]", page.read_text()))
    assert named <= {*variables(), *CLIENT_VARIABLES, *(NO_SETTINGS if page == OPERATIONS else ())}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_pages_and_headings_that_exist(page: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#:]*)(?:#([^)]*))?\)", page.read_text()):
        linked = page.parent / target if target else page
        assert linked.exists(), target
        assert not anchor or anchor in _anchors(linked), f"{target}#{anchor}"


def _anchors(page: Path) -> set[str]:
    """Those of its headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
