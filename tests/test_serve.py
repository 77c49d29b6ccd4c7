"""What ``acp-gateway serve`` tells whoever runs it: that it is ready and where, what is missing, and that it stops."""

import shlex
from pathlib import Path

import pytest

from tests.program import READY, Place, Program, call, run, run_to_end

HINT = "no token yet"


@pytest.fixture
def place(open_directory: Path) -> Place:
    return Place.make(open_directory / "serve")


def hint(program: Program) -> str | None:
    """The command that it advises where nobody has a token."""
    said = [line for line in program.said().splitlines() if line.startswith(HINT)]
    return said[0].removeprefix(HINT).strip() if said else None


def test_it_says_where_it_answers_when_it_is_ready_and_that_it_stops(place: Place) -> None:
    options = ["--port", str(place.port), "--data-dir", str(place.data_dir)]
    with run("serve", *options, directory=place.directory) as program:
        program.wait_until_says(READY)
        for page in ("console", "docs"):
            assert f"{place.url}/{page}\n" in program.said()
        assert call("GET", f"{place.url}/api/projects") == (200, {"projects": [], "next": None})
        assert " applied\n" in program.said()
        assert hint(program) is None
        program.interrupt()
        assert program.wait() == 0
        assert program.said().endswith("stopping\nstopped\n")


def test_the_address_is_the_one_that_the_operator_has_named(place: Place) -> None:
    options = ["--port", str(place.port), "--data-dir", str(place.data_dir)]
    environ = {"ACP_GATEWAY_SERVER_PUBLIC_URL": "https://agents.example.org"}
    with run("serve", *options, directory=place.directory, environ=environ) as program:
        program.wait_until_says(READY)
        assert "console       https://agents.example.org/console\n" in program.said()


def test_where_tokens_are_wanted_and_nobody_has_one_it_says_how_one_is_made(place: Place) -> None:
    config = place.directory / "my config.toml"
    config.write_text(
        f'[server]\nport = {place.port}\n[embedded]\ndata_dir = "{place.data_dir}"\n[identity]\nmodes = ["tokens"]\n'
    )
    serve = ["serve", "--config", str(config)]
    tokens = {"ACP_GATEWAY_IDENTITY_MODES": "tokens"}
    with run(*serve, directory=place.directory, environ=tokens) as program:
        program.wait_until_says(READY)
        command = hint(program)
        assert command == f"acp-gateway token create --user NAME --config {shlex.quote(str(config))}"
        made = run_to_end(*shlex.split(command)[1:], directory=place.directory)
        assert made.status == 0
    with run(*serve, directory=place.directory, environ=tokens) as program:
        program.wait_until_says(READY)
        assert hint(program) is None
