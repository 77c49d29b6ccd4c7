"""One canary in every secret, the whole product driven end to end, and everything that it leaves behind searched."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest

from tests.canary.canaries import Canaries
from tests.canary.system import MARKER, System
from tests.program import wait_until

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def driven(module_directory: Path) -> Iterator[System]:
    """A system that has been through everything below, and has ended."""
    directory = module_directory / "canary"
    directory.mkdir()
    directory.chmod(0o755)
    with System.running(directory) as system:
        sign_in(system)
        register(system)
        work(system)
        connect_accounts(system)
        send_secrets_where_they_do_not_belong(system)
        ask_without_leave(system)
        break_things(system)
        system.note_command_lines()
        system.call("GET", "/metrics")
        system.collect()
        yield system


def sign_in(system: System) -> None:
    made = json.loads(system.command("token", "create", "--user", "ann", "--json", shown="API token"))
    system.token = system.canaries.add("API token", made["token"])
    other = json.loads(system.command("token", "create", "--user", "bob", "--json", shown="bob's API token"))
    system.canaries.add("bob's API token", other["token"])
    system.bob = other["token"]
    system.command("token", "list")
    for what, claims, status in (
        ("good JWT", {}, 200),
        ("expired JWT", {"exp": 1_700_000_000}, 401),
        ("JWT for another", {"aud": "another"}, 401),
    ):
        token = system.provider.sign(what, **claims)
        assert system.call("GET", "/api/projects", token=token).status == status
        system.call("GET", f"/api/projects?access_token={token}", token="")
    assert system.call("GET", "/api/projects").status == 200


def register(system: System) -> None:
    for number, id in enumerate(("one", "two")):
        address = system.host(number)
        body = {
            "id": id,
            "containerUrl": address,
            "acpUrl": address,
            "defaultAgentId": "demo",
            "permissionMode": "full-auto",
            "containerToken": system.host_tokens[number],
        }
        answer = system.call("POST", "/api/projects", body)
        assert (answer.status, answer.json["hasContainerToken"]) == (201, True)
        assert system.call("GET", f"/api/projects/{id}/acp/info").status == 200
    wrong = system.canaries.make("wrong container token")
    body = {"id": "wrong", "containerUrl": system.host(0), "acpUrl": system.host(0), "containerToken": wrong}
    assert system.call("POST", "/api/projects", body).status == 201
    assert system.call("GET", "/api/projects/wrong/acp/info").status == 401
    assert system.call("POST", "/api/projects/wrong/acp/session", {"agentId": "demo"}).status >= 400
    system.listen("/api/projects/wrong/acp/events")


def new_session(system: System, id: str, agent: str = "demo") -> str:
    answer = system.call("POST", f"/api/projects/{id}/acp/session", {"agentId": agent})
    assert answer.status == 201, answer
    session: str = answer.json["id"]
    return session


def prompt(system: System, id: str, session: str, text: str) -> Any:
    return system.call("POST", f"/api/projects/{id}/acp/session/{session}/prompt", {"prompt": text}, Prefer="wait=30")


def work(system: System) -> None:
    for id in ("one", "two"):
        session = new_session(system, id)
        system.listen(f"/api/projects/{id}/acp/events?from=start")
        system.listen(f"/api/projects/{id}/acp/events/{session}?from=start")
        assert prompt(system, id, session, f"say {MARKER}").status == 200
        # What the agent host was started with is not for its agents, nor for whoever asks them.
        system.listen_as_a_browser(id)
        for name in ("ACP_HOST_TOKEN", "ACP_GATEWAY_CONTAINERS_TOKEN", "ACP_GATEWAY_DATABASE_URL"):
            prompt(system, id, session, f"env {name}")
        prompt(system, id, session, "run env")
        prompt(system, id, session, "fail for a reason")
        system.call("GET", f"/api/projects/{id}/acp/session/{session}/messages")
        system.call("GET", f"/api/projects/{id}/acp/session/{session}/export")


def auth(system: System, agent: str, method: str, what: str, body: Any = None) -> Any:
    return system.call(method, f"/api/projects/one/acp/agents/{agent}/auth{what}", body)


def connect_accounts(system: System) -> None:
    paste_keys(system)
    log_in_in_the_browser(system)
    log_in_with_a_code(system)
    system.call("GET", "/api/credentials")
    look_for_credentials_in_agents(system)
    renew_under_a_session(system)
    system.provider.repeat_what_it_is_sent("revoke")
    assert auth(system, "claude-code", "DELETE", "").status == 200


def paste_keys(system: System) -> None:
    key = system.canaries.make("pasted API key", "AIzaSy{}")
    saved = auth(system, "gemini", "POST", "/token", {"token": key, "tokenType": "api_key"})
    assert saved.status in (200, 201), saved
    for number, wrong in enumerate(({"token": ["{}"]}, {"token": "{}", "tokenType": "{}"}, {"token": "{} {}"})):
        secret = system.canaries.make(f"pasted in a wrong way {number}")
        refused = auth(system, "claude-code", "POST", "/token", json.loads(json.dumps(wrong).replace("{}", secret)))
        assert refused.status == 400, refused
    assert auth(system, "gemini", "GET", "/status").json["state"] == "authorized"


def log_in_in_the_browser(system: System) -> None:
    callback: list[str] = []

    def come_back(token: str | None = None, **changes: str) -> Any:
        begun = auth(system, "demo", "POST", "/start", {"flow": "pkce"})
        assert begun.status == 200, begun
        url = urlsplit(system.provider.log_in(begun.json["authorizeUrl"], **changes))
        callback.append(url.path)
        return system.call("GET", f"{url.path}?{url.query}", token=token)

    # A browser that has no credential of the gateway's with it is asked whose the login is, on a page of its own.
    page = come_back(token="").headers["Location"]
    system.canaries.add("login page's ticket", page.rpartition("/")[2], shown_in="answers 303")
    path = urljoin(callback[0], page)
    assert system.call("GET", path, token="").status == 200
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert system.call("POST", path, b"x" * 2000, token="", **form).status == 413
    assert system.call("GET", f"{path}x", token="").status == 404
    assert system.call("DELETE", path, token="").status == 401
    assert system.call("POST", path, b"answer=yes", token="", **form).status == 303
    assert auth(system, "demo", "GET", "/status").json["state"] == "authorized"
    # The provider refuses with all that it was sent, in its own words.
    system.provider.repeat_what_it_is_sent("token")
    assert come_back().status == 303
    assert auth(system, "demo", "GET", "/status").json["state"] == "failed"
    come_back(code=system.canaries.make("a code that nobody knows"))
    come_back(error=system.canaries.make("an error that is a secret"), code="")
    pasted = system.canaries.make("pasted code")
    auth(system, "demo", "POST", "/callback", {"code": pasted})
    auth(system, "demo", "POST", "/callback", {"code": f"http://localhost/?code={pasted}&state={pasted}"})
    # One that is due at once: it is renewed, and the former refresh token is worth nothing any more.
    system.provider.expires_in = 7
    assert come_back().status == 303
    wait_until(lambda: system.provider.calls_of("token", grant_type="refresh_token"), 60)
    system.provider.repeat_what_it_is_sent("token")
    wait_until(lambda: auth(system, "demo", "GET", "/status").json["state"] == "needs_reauth", 60)
    system.provider.expires_in = 3600
    assert come_back().status == 303
    assert auth(system, "demo", "GET", "/status").json["state"] == "authorized"


def log_in_with_a_code(system: System) -> None:
    begun = auth(system, "claude-code", "POST", "/start", {"flow": "device"})
    assert begun.status == 200, begun
    system.provider.approve()
    wait_until(lambda: auth(system, "claude-code", "GET", "/status").json["state"] == "authorized")


def said(system: System, session: str) -> str:
    answer = system.call("GET", f"/api/projects/one/acp/session/{session}/messages?limit=200")
    assert answer.status == 200
    return json.dumps(answer.json)


def look_for_credentials_in_agents(system: System) -> None:
    """Agents have them, and say so: in a message, through a file and a terminal, in an error, in pieces."""
    for agent, variable in (("gemini", "GEMINI_API_KEY"), ("claude-code", "CLAUDE_CODE_OAUTH_TOKEN")):
        session = new_session(system, "one", agent)
        prompt(system, "one", session, f"env {variable}")
        assert "***" in said(system, session), f"{agent} has been given nothing"
        prompt(system, "one", session, f"run printenv {variable}")
        prompt(system, "one", session, f"run printenv {variable} > found; cat found")
        prompt(system, "one", session, "read found")
        prompt(system, "one", session, f"ask whether {variable} is right")
        system.call("DELETE", f"/api/projects/one/acp/session/{session}")


def renew_under_a_session(system: System) -> None:
    """A session goes on with a credential that was renewed meanwhile, which is masked as the former one is."""
    session = new_session(system, "one", "claude-code")
    before = len(system.provider.calls_of("token", grant_type="refresh_token"))
    system.provider.expires_in = 7
    log_in_with_a_code(system)
    wait_until(lambda: len(system.provider.calls_of("token", grant_type="refresh_token")) > before, 60)
    system.provider.expires_in = 3600
    wait_until(lambda: prompt(system, "one", session, "env CLAUDE_CODE_OAUTH_TOKEN").status == 200, 60)
    assert "***" in said(system, session)


def send_secrets_where_they_do_not_belong(system: System) -> None:
    """What a half-awake person or a broken client does with a secret: each is answered, and none is repeated."""
    for number, body in enumerate(
        (
            {"containerToken": ["{}"]},
            {"containerToken": {"token": "{}"}},
            {"containerToken": "{} with spaces"},
            {"containerToken": "{}", "name": ""},
            {"acpUrl": "http://user:{}@127.0.0.1:1"},
            {"acpUrl": "{}"},
        )
    ):
        secret = system.canaries.make(f"secret in a wrong place {number}")
        answer = system.call("PATCH", "/api/projects/one", json.loads(json.dumps(body).replace("{}", secret)))
        assert answer.status == 400
    broken = system.canaries.make("secret in broken JSON")
    assert system.call("PATCH", "/api/projects/one", f'{{"containerToken": "{broken}'.encode()).status == 400
    for scheme in ("Bearer", "Basic", "Token", "acpgw"):
        secret = system.canaries.make(f"unknown credential, {scheme}")
        answer = system.call("GET", "/api/projects", token="", Authorization=f"{scheme} {secret}")
        assert answer.status == 401
    for name in ("Cookie", "X-Api-Key", "Proxy-Authorization", "X-Forwarded-User"):
        secret = system.canaries.make(f"secret in {name}")
        system.call("GET", "/api/projects/one/acp/agents", **{name: f"x={secret}"})
        system.call("GET", "/api/projects/one/acp/nothing-here", **{name: f"x={secret}"})


def ask_without_leave(system: System) -> None:
    system.call("GET", "/api/projects/one/audit")
    for path in ("/api/projects/one", "/api/projects/one/acp/session", "/api/projects/one/acp/info", "/api/projects"):
        system.call("GET", path, token=system.bob)
        system.call("GET", path, token="")
    moved = {"containerUrl": "http://169.254.169.254", "acpUrl": "http://169.254.169.254"}
    assert system.call("PATCH", "/api/projects/two", moved).status == 400
    answer = system.call("PATCH", "/api/projects/two", {"acpUrl": system.host(0)})
    assert answer.status == 400  # the secret does not go along


def break_things(system: System) -> None:
    session = new_session(system, "one")
    system.kill_gateway()
    system.start_gateway()
    assert prompt(system, "one", session, f"say {MARKER} again").status == 200
    system.restart_database()
    system.call("PATCH", "/api/projects/one", {"containerToken": system.host_tokens[0]})
    wait_until(lambda: system.try_call("GET", "/api/projects/one"))
    system.kill_gateway()
    # A start that is refused says why, and not with what.
    for name, value in (
        ("ACP_GATEWAY_VAULT_KEYS", system.canaries.make("half a key", "k1:{}")),
        ("ACP_GATEWAY_DATABASE_URL", system.database_url.replace("?", "?nonsense=1&")),
        ("ACP_GATEWAY_DATABASE_URL", system.canaries.make("no URL", "postgresql://gateway:{}@[half")),
        ("ACP_GATEWAY_VAULT_KEYS", ""),
    ):
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(system.settings, name, value)
            system.command("serve", "--port", str(system.first_port))
    system.command("key", "list")
    system.start_gateway()
    assert system.call("GET", "/api/projects/one/acp/info").status == 200


def test_the_search_looks_where_things_are(driven: System) -> None:
    marker = Canaries()
    marker.add("marker", MARKER)
    assert {"event streams", "answers 200", "PostgreSQL's log"} <= set(driven.witness.leaks(marker))
    places = set(driven.witness.seen)
    assert {"PostgreSQL's dump", "programs' logs", "command lines", "answers 400", "answers 401"} <= places
    assert any(place.startswith("PostgreSQL's files: pg_wal") for place in places)
    # Not the gateway's own rooms alone log at debug.
    assert b" debug   yoyo.migrations: " in driven.witness.seen["programs' logs"]
    assert b"seal" in driven.witness.seen["PostgreSQL's dump"]
    assert len(driven.canaries.names) > 20


def test_no_secret_is_anywhere(driven: System) -> None:
    assert driven.witness.leaks(driven.canaries) == {}
