"""Gateways that give users' credentials to agents, and hosts where these run."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import attrs
import psutil
from aiohttp.typedefs import Middleware

from gateway.agenthost.app import AgentHostConfig, build_app
from gateway.config.schema import CredentialsConfig
from gateway.credentials.room import CREDENTIALS
from gateway.credentials.store import API_KEY, AgentAuthToken
from gateway.server.run import bind, serving
from gateway.sessions.room import SESSIONS
from tests.agenthost.hosts import scripted
from tests.sessions.everything import everything
from tests.world import Answer, Gateway, Project, data_of

LOADS = {"initialize": {"protocolVersion": 1, "agentCapabilities": {"loadSession": True}}, "load": {}}
WAYS = """
[[ways]]
agent = "keyed"
token_type = "api_key"
env = { A_KEY = "{token}" }
unset = ["B_KEY"]

[[ways]]
agent = "keyed"
token_type = "oauth"
env = { A_KEY = "{token}" }
authenticate = { method_id = "oauth" }

[[ways]]
agent = "demo"
token_type = "api_key"
env = { A_KEY = "{token}" }
unset = ["B_KEY"]
"""
ANNS, BOBS = "sk-of-ann-0123456789abcdef", "sk-of-bob-0123456789abcdef"


@attrs.define
class Hosts:
    """Agent hosts one after the other, at one address; the agent ``keyed`` wants a credential."""

    root: Path
    port: int = 0
    #: In front of its handlers.
    middlewares: list[Middleware] = attrs.field(factory=list)

    @asynccontextmanager
    async def run(self) -> AsyncIterator[str]:
        spec = scripted("keyed", script=LOADS, requires_auth=True, credentials=("A_KEY", "B_KEY"))
        for name in ("workspace", "home"):
            (self.root / name).mkdir(exist_ok=True)
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(self.root / "home")}
        config = AgentHostConfig(
            workspace=self.root / "workspace",
            catalogue={"keyed": spec, "free": scripted("free")},
            environment=environment,
            stop_timeout=0.5,
        )
        sock = bind("127.0.0.1", self.port, purpose="the test's agent host", option="")
        app = build_app(config)
        app.middlewares.extend(self.middlewares)
        async with serving(app, sock, shutdown_timeout=1):
            self.port = sock.getsockname()[1]
            yield f"http://127.0.0.1:{self.port}"


def ways(directory: Path) -> CredentialsConfig:
    """A catalogue with how these tests' agents are given credentials."""
    (directory / "ways.toml").write_text(WAYS)
    return CredentialsConfig(catalogue=str(directory / "ways.toml"))


async def shared(gateway: Gateway, url: str) -> Project:
    project = await gateway.as_user("ann").register(url)
    added = await project.gateway.call("PUT", f"{project.path}/members/bob", {"role": "operator"})
    assert added.status in (200, 201), added.body
    return project


async def store(gateway: Gateway, user: str, token: str, agent: str = "keyed", **members: Any) -> AgentAuthToken:
    members = {"token_type": API_KEY, **members}
    return await gateway.app[CREDENTIALS].store.save_agent_auth_token(user, agent, access_token=token, **members)


async def create(project: Project, user: str, agent: str = "keyed") -> Answer:
    return await project.as_user(user).call("POST", "/session", {"agentId": agent})


async def session_of(project: Project, user: str, agent: str = "keyed") -> str:
    answer = await create(project, user, agent)
    assert answer.status == 201, answer.body
    return str(answer.json["id"])


def has_process_with(key: str) -> bool:
    """Whether a process below this one has the key in its environment; other tests use the same keys beside it."""
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if process.environ().get("A_KEY") == key:
                return True
    return False


async def pid_of(project: Project, session: str) -> int:
    acp_id = (await project.gateway.app[SESSIONS].sessions.get(project.id, session)).acp_session_id
    assert acp_id is not None
    return int(acp_id.split("-")[1])


async def run(project: Project, user: str, session: str, *steps: Any) -> Any:
    answer = await project.as_user(user).prompt(session, json.dumps(steps))
    return answer["turn"]


async def restored(project: Project, session: str) -> list[Any]:
    return [data_of(event) for event in await everything(project, session) if event.event == "session_restored"]
