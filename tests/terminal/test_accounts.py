"""Accounts in the terminal: which key is wanted and how it is given, never as an argument, and how a login goes on."""

import asyncio
import json
import re
from pathlib import Path

import attrs

from tests.fakes.container import FakeContainer
from tests.fakes.provider import FakeProvider
from tests.oauth.conftest import Running, provider, run_gateway  # noqa: F401 - fixtures
from tests.program import Place
from tests.terminal.person import script, terminal, told

KEY = "sk-something-long-enough-0123456789"
COMMAND = "acp-gateway auth token demo codex < key.txt"


def test_an_account_is_connected_with_a_key_and_taken_away(place: Place) -> None:
    kept = script(place, "auth", "token", "demo", "codex", typed=f"{KEY}\n")
    assert (kept.returncode, kept.stdout.splitlines()[0]) == (0, "codex: connected")
    assert told(place, "auth", "status", "demo", "codex")["state"] == "authorized"
    listed = script(place, "auth", "list")
    assert re.fullmatch(r"AGENT +KIND +STATE +PROVIDER +FINGERPRINT +EXPIRES", listed.stdout.splitlines()[0])
    assert re.fullmatch(r"codex +API key +connected +- +\w+ +never", listed.stdout.splitlines()[1])
    gone = script(place, "auth", "logout", "demo", "codex")
    assert (gone.returncode, gone.stderr) == (0, "codex: disconnected\n")
    assert script(place, "auth", "logout", "demo", "codex").stderr == "codex: no account was connected\n"
    assert KEY not in kept.stdout + kept.stderr + listed.stdout


def test_the_status_of_an_account_says_how_to_connect_it(place: Place) -> None:
    status = script(place, "auth", "status", "demo", "codex")
    assert (status.returncode, status.stdout.splitlines()[0]) == (1, "codex: not connected")
    [line] = [line for line in status.stdout.splitlines() if COMMAND in line]
    assert "an API key of the OpenAI platform" in line
    assert "{" not in status.stdout


def test_a_login_by_key_says_in_a_script_which_key_and_how_to_give_it(place: Place) -> None:
    login = script(place, "auth", "login", "demo", "codex")
    assert (login.returncode, login.stdout) == (1, "")
    assert login.stderr.startswith("codex takes an API key of the OpenAI platform (sk-…), or ")
    assert COMMAND in login.stderr


def test_a_login_by_key_asks_for_it_in_the_terminal_and_does_not_show_it(place: Place) -> None:
    with terminal(place, "auth", "login", "demo", "codex") as person:
        person.until("Paste it here (it is not shown): ")
        person.type(f"{KEY}\n")
        person.until("codex: connected")
        assert person.wait() == 0
        assert KEY not in person.shown
    script(place, "auth", "logout", "demo", "codex")


def test_no_key_on_standard_input_says_how_it_is_given(place: Place) -> None:
    empty = script(place, "auth", "token", "demo", "codex", typed="\n")
    assert (empty.returncode, COMMAND in empty.stderr) == (2, True)


def test_a_secret_is_no_argument_and_is_not_repeated(place: Place) -> None:
    refused = script(place, "auth", "token", "demo", "codex", KEY)
    assert refused.returncode == 2
    assert f"send a new one on standard input: {COMMAND}" in refused.stderr
    assert KEY not in refused.stdout + refused.stderr
    assert told_state(place) == "none"
    assert "given" not in script(place, "auth", "token", "--help").stdout


def told_state(place: Place) -> str:
    return str(json.loads(script(place, "auth", "status", "demo", "codex", "--json").stdout)["state"])


async def test_a_prompt_that_wants_an_account_says_how_it_is_connected(
    run_gateway: Running,  # noqa: F811
    base_container: FakeContainer,
    tmp_path: Path,
) -> None:
    base_container.agents["keyed"] = attrs.evolve(base_container.agents["demo"], id="keyed", requires_auth=True)
    async with run_gateway() as gateway:
        await gateway.register(base_container.url)
        place = Place(directory=tmp_path, port=int(gateway.url.rpartition(":")[2]), container_port=0)
        done = await asyncio.to_thread(script, place, "prompt", "demo", "say x", "--agent", "keyed")
        assert done.returncode in (1, 3)
        assert "acp-gateway auth login demo keyed" in done.stderr


async def test_a_login_asks_in_the_terminal_for_what_the_browser_ended_with(
    run_gateway: Running,  # noqa: F811
    provider: FakeProvider,  # noqa: F811
    base_container: FakeContainer,
    tmp_path: Path,
) -> None:
    paste = {"redirect_mode": "loopback_paste", "redirect_uri": "http://localhost:1455/auth/callback"}
    async with run_gateway(**paste) as gateway:
        await gateway.register(base_container.url)
        place = Place(directory=tmp_path, port=int(gateway.url.rpartition(":")[2]), container_port=0)

        def connect() -> None:
            with terminal(place, "auth", "login", "demo", "demo") as person:
                person.until("paste the address or the code that it ended with:")
                person.type("http://localhost:1455/auth/callback?nothing\n")
                person.until("31m")  # refused, in red, and asked for again
                address = re.findall(r"Open (http\S+?)(?:\x1b|\s)", person.shown)[0]
                person.type(provider.log_in(address) + "\n")
                person.until("demo: connected")
                assert person.wait() == 0

        await asyncio.to_thread(connect)
