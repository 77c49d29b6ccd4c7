"""``acp-gateway agent list``, ``check`` and ``add``: what runs on this machine, and what a registry adds to it."""

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from gateway.agenthost.catalogue import load
from tests.agenthost.hosts import SCRIPTED
from tests.program import Ended, Place, Program, call, run, run_to_end, wait_until

_NUMBERS = count(1)
PROGRAM = json.dumps([sys.executable, "-I", "-S", str(SCRIPTED)])
ENTRIES: dict[str, dict[str, Any]] = {
    "npx": {"npx": {"package": "@example/helper@1.2.3", "args": ["--acp"], "env": {"HELPER_UPDATES": "off"}}},
    "uvx": {"uvx": {"package": "helper@1.2.3", "args": ["acp"]}},
    "binary": {
        "binary": {
            f"linux-{machine}": {"archive": "https://example.org/helper.tar.gz", "cmd": "./helper", "args": ["acp"]}
            for machine in ("x86_64", "aarch64")
        }
    },
}
RUNS = {
    "npx": ("npx", "--yes", "@example/helper@1.2.3", "--acp"),
    "uvx": ("uvx", "helper@1.2.3", "acp"),
    "binary": ("helper", "acp"),
}


@pytest.fixture
def place(open_directory: Path) -> Place:
    return Place.make(open_directory / f"agents-{next(_NUMBERS)}")


def entry(distribution: Any, **members: Any) -> dict[str, Any]:
    told = {"id": "helper", "name": "Helper", "version": "1.2.3", "description": "Helps.", **members}
    return {**told, "distribution": distribution}


def add(place: Place, registry: Any, *options: str, agent: str = "helper") -> Ended:
    file, catalogue = place.directory / "registry.json", place.directory / "agents.toml"
    file.write_text(json.dumps(registry))
    given = ["--file", str(file), "--catalogue", str(catalogue), *options]
    return run_to_end("agent", "add", agent, *given, directory=place.directory)


@contextmanager
def hosting(place: Place, catalogue: Path) -> Iterator[Program]:
    options = ["--port", str(place.port), "--workspace", str(place.workspace), "--catalogue", str(catalogue)]
    with run("agent-host", *options, directory=place.directory) as program:
        program.wait_until_says("agent host")
        yield program


def listed(place: Place) -> dict[str, Any]:
    return {agent["id"]: agent for agent in call("GET", f"{place.url}/agents")[1]["data"]["agents"]}


@pytest.mark.parametrize("kind", ENTRIES)
def test_entry_of_a_registry_is_shown_and_becomes_one_of_the_catalogue(place: Place, kind: str) -> None:
    registry = {"version": "1.0.0", "agents": [entry({}, id="other"), entry(ENTRIES[kind])]}
    shown = add(place, registry)
    assert "nothing was written" in shown.sentence()
    assert " ".join(RUNS[kind]) in shown.stdout
    assert not (place.directory / "agents.toml").exists()
    assert add(place, registry, "--yes").status == 0
    spec = load(place.directory / "agents.toml")["helper"]
    assert (spec.command, spec.name, spec.description) == (RUNS[kind], "Helper", "Helps.")
    assert spec.env == ENTRIES[kind].get("npx", {}).get("env", {})


def test_entry_is_added_to_what_the_file_has_once(place: Place) -> None:
    catalogue = place.directory / "agents.toml"
    catalogue.write_text('# mine\n[agents.mine]\ncommand = ["mine"]\n')
    assert add(place, entry(ENTRIES["npx"]), "--yes").status == 0
    assert catalogue.read_text().startswith('# mine\n[agents.mine]\ncommand = ["mine"]\n\n[agents."helper"]\n')
    assert {"mine", "helper"} <= set(load(catalogue))
    before = catalogue.read_text()
    assert "already" in add(place, entry(ENTRIES["npx"]), "--yes").sentence()
    assert catalogue.read_text() == before


def test_entry_of_an_agent_that_is_built_in_changes_how_it_runs(place: Place) -> None:
    assert add(place, entry(ENTRIES["npx"], id="claude-acp"), "--yes", agent="claude-acp").status == 0
    spec = load(place.directory / "agents.toml")["claude-code"]
    assert spec.command == RUNS["npx"]
    assert (spec.requires_auth, spec.start_mode, "CLAUDE_CODE_MAX_RETRIES" in spec.env) == (True, "default", True)


@pytest.mark.parametrize(
    ("registry", "told"),
    [
        ({"agents": [entry({}, id="other")]}, "there are: other"),
        (entry({}), "has nothing for"),
        (entry({"npx": {"package": 5}}), "$.distribution.npx.package"),
        (entry({"npx": {"package": "--eval"}}), "must name a package"),
        (entry({"npx": {"package": "x", "env": {"A=B": "c"}}}), "cannot be a variable's name"),
        ([], "there are: none"),
    ],
)
def test_entry_that_cannot_be_used_is_told_in_a_sentence(place: Place, registry: Any, told: str) -> None:
    assert told in add(place, registry, "--yes").sentence()
    assert not (place.directory / "agents.toml").exists()


def test_registry_is_asked_only_where_its_address_is_allowed(place: Place) -> None:
    given = ["--catalogue", str(place.directory / "agents.toml")]
    ended = run_to_end("agent", "add", "helper", *given, directory=place.directory)
    assert "agent_host.registry" in ended.sentence()


def test_agents_are_tried(place: Place) -> None:
    catalogue = place.directory / "agents.toml"
    info = {"protocolVersion": 1, "agentInfo": {"name": "mine", "version": "4.5.6"}, "authMethods": [{"id": "web"}]}
    script = json.dumps(json.dumps({"initialize": {**info, "agentCapabilities": {"loadSession": True}}}))
    catalogue.write_text(
        f"[agents.mine]\ncommand = {PROGRAM}\nenv = {{ SCRIPT = {script} }}\n"
        '[agents.broken]\ncommand = ["false"]\n[agents.absent]\ncommand = ["no-such-program"]\ninstall = "get it"\n'
    )
    given = ["--catalogue", str(catalogue), "mine", "broken", "absent"]
    ended = run_to_end("agent", "check", *given, directory=place.directory)
    assert "broken, absent does not work" in ended.sentence()
    rows = {line.split()[0]: line for line in ended.stdout.splitlines()}
    assert rows["mine"].split()[1:4] == ["4.5.6", "yes", "load"]
    assert "logins: web" in rows["mine"]
    assert " no " in rows["broken"]
    assert "not found" in rows["absent"]
    assert "get it" in rows["absent"]
    shown = run_to_end("agent", "list", "--catalogue", str(catalogue), "--json", directory=place.directory)
    found = {one["id"]: one["program"] for one in json.loads(shown.stdout)}
    assert found["absent"] is None
    assert found["mine"] == sys.executable


def test_catalogue_is_read_again_on_sighup(place: Place) -> None:
    catalogue = place.directory / "agents.toml"
    catalogue.write_text(f"[agents.mine]\ncommand = {PROGRAM}\n[agents.old]\ncommand = {PROGRAM}\n")
    with hosting(place, catalogue) as program:
        assert {"mine", "old"} <= listed(place).keys()
        assert call("POST", f"{place.url}/session", {"agentId": "mine"})[0] == 200
        catalogue.write_text("[agents.mine]\nname = 5\n")
        program.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "not reloaded" in program.complained())
        assert {"mine", "old"} <= listed(place).keys()
        catalogue.write_text(
            f'[agents.mine]\ncommand = {PROGRAM}\nname = "Renamed"\n[agents.new]\ncommand = {PROGRAM}\n'
            'credentials = ["NEW_KEY"]\n'
        )
        program.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "new" in listed(place))
        agents = listed(place)
        assert "old" not in agents
        assert (agents["mine"]["name"], agents["new"]["credentials"]) == ("Renamed", ["NEW_KEY"])
        assert call("POST", f"{place.url}/session", {"agentId": "new", "env": {"NEW_KEY": "x"}})[0] == 200
