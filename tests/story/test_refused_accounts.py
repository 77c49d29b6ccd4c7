"""An agent whose account is refused says so in its own way; people hear where to connect another, at once."""

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.agenthost.catalogue import BUILT_IN, Refusal
from tests.agenthost.hosts import scripted
from tests.story.conftest import Session
from tests.story.hosting import hosting
from tests.world import Gateway, data_of

GOOGLE = json.dumps(
    {
        "error": {
            "code": 400,
            "message": "API key not valid. Please pass a valid API key.",
            "status": "INVALID_ARGUMENT",
            "details": [{"reason": "API_KEY_INVALID"}],
        }
    }
)
#: As agents have refused accounts: the agent's entry, and its error.
REFUSALS: dict[str, tuple[str, dict[str, Any]]] = {
    "acp": ("scripted", {"code": -32000, "message": "Authentication required"}),
    "gemini": ("gemini", {"code": 400, "message": GOOGLE}),
    "http-401": ("scripted", {"code": 401, "message": "Request failed"}),
    "http-403": ("scripted", {"code": 403, "message": "Request failed"}),
    "qwen": ("qwen-code", {"code": -32603, "message": "Internal error", "data": {"details": "401 no such key"}}),
    "opencode": ("opencode", {"code": -32603, "message": "Internal error: Incorrect API key provided: sk-1"}),
    "grok": ("grok", {"code": -32603, "message": "Internal error", "data": "Unauthorized (401) from https://api.x.ai"}),
    "droid": ("factory-droid", {"code": -32603, "message": "Agent error", "data": "401 Incorrect API key provided"}),
    "vibe": ("mistral-vibe", {"code": -31002, "message": "Unauthorized"}),
}
#: That are no refusals.
OTHERS: dict[str, dict[str, Any]] = {
    "plain": {"code": -32603, "message": "Internal error", "data": "disk full"},
    "limit": {"code": 429, "message": "Rate limit exceeded for this API key"},
    "number": {"code": -32603, "message": "line 401 of the file cannot be read"},
}


def refusing(agent_id: str, script: dict[str, Any]) -> Any:
    known = BUILT_IN.get(agent_id)
    return scripted("refusing", script=script, refusals=() if known is None else known.refusals)


@pytest.mark.parametrize("name", REFUSALS)
async def test_refused_account_is_auth_required_at_session_creation(
    name: str, gateway: Gateway, tmp_path: Path, workspace: Path
) -> None:
    agent_id, error = REFUSALS[name]
    agent = refusing(agent_id, {"session/new": {"error": error}, "new": {"error": error}})
    async with hosting(tmp_path, workspace, agent) as url:
        project = await gateway.register(url)
        answer = await project.call("POST", "/session", {"agentId": "refusing"})
        assert answer.status == 401, answer.json
        assert answer.json["code"] == "auth_required"
        assert answer.json["authStart"] == f"/api/projects/{project.id}/acp/agents/refusing/auth/start"


@pytest.mark.parametrize("name", REFUSALS)
async def test_refused_account_is_auth_required_at_the_prompt(
    name: str, gateway: Gateway, tmp_path: Path, workspace: Path
) -> None:
    agent_id, error = REFUSALS[name]
    async with hosting(tmp_path, workspace, refusing(agent_id, {})) as url:
        project = await gateway.register(url)
        session = Session(project, await project.create_session(agentId="refusing"))
        ended = data_of((await session.events_of(["error", error]))[-1])
        assert (ended["outcome"], ended["failure"]) == ("failed", "auth_required")


@pytest.mark.parametrize("name", OTHERS)
async def test_other_error_is_the_agent_s_and_its_words_are_told(session: Session, name: str) -> None:
    error = OTHERS[name]
    ended = data_of((await session.events_of(["error", error]))[-1])
    assert ended["failure"] == "agent_error"
    assert error["message"] in ended["message"]
    assert error.get("data", "") in ended["message"]


async def test_operator_s_entry_says_how_its_agent_refuses(gateway: Gateway, tmp_path: Path, workspace: Path) -> None:
    agent = scripted("refusing", refusals=(Refusal(code=7, text="who are you"),))
    async with hosting(tmp_path, workspace, agent) as url:
        project = await gateway.register(url)
        session = Session(project, await project.create_session(agentId="refusing"))
        for error, failure in (
            ({"code": 7, "message": "Who are you?"}, "auth_required"),
            ({"code": 7, "message": "Where are you?"}, "agent_error"),
            ({"code": 8, "message": "Who are you?"}, "agent_error"),
        ):
            assert data_of((await session.events_of(["error", error]))[-1])["failure"] == failure
