"""An account from its login to the agent and back, over a session that outlives its tokens."""

from pathlib import Path

import attrs
import pytest

from gateway.config.schema import CredentialsConfig
from tests.agenthost.hosts import alive, chunk
from tests.agenthost.processes import environment_of
from tests.fakes.eventually import eventually
from tests.fakes.provider import FakeProvider
from tests.oauth.conftest import with_providers
from tests.oauth.person import Person
from tests.sessions.injecting import WAYS, Hosts, pid_of, restored, run
from tests.world import QUICK, GatewayProcess


@pytest.fixture
def hosts(tmp_path: Path) -> Hosts:
    return Hosts(tmp_path)


async def test_session_goes_on_with_the_token_that_its_account_was_renewed_to(
    database_url: str, hosts: Hosts, tmp_path: Path
) -> None:
    (tmp_path / "ways.toml").write_text(WAYS)
    config = attrs.evolve(QUICK, credentials=CredentialsConfig(catalogue=str(tmp_path / "ways.toml")))
    async with (
        FakeProvider() as provider,
        hosts.run() as url,
        GatewayProcess(database_url, with_providers(config, example=provider.table(agents=["keyed"]))).run() as gateway,
    ):
        person = Person(await gateway.register(url, defaultAgentId="keyed"), provider, "keyed")
        refused = await person.project.call("POST", "/session", {})
        assert (refused.status, refused.json["code"]) == (401, "auth_required")
        assert refused.json["authStart"] == f"{person.project.acp}/agents/keyed/auth/start"
        await person.connected()
        session = await person.project.create_session(agentId="keyed")
        first = await person.secrets()
        before = await pid_of(person.project, session)
        assert first is not None
        assert environment_of(before)["A_KEY"] == first[0]
        assert first[1] not in environment_of(before).values()
        person.age(expires_in=5)
        await person.fresh()
        await eventually(lambda: not alive(before))
        turn = await run(person.project, "local", session, ["environment"], chunk("goes on"))
        assert turn["state"] == "completed"
        assert [told["reason"] for told in await restored(person.project, session)] == ["credential_renewed"]
        second = await person.secrets()
        assert second is not None
        assert second[0] != first[0]
        other = await person.project.create_session(agentId="keyed")
        assert environment_of(await pid_of(person.project, other))["A_KEY"] == second[0]
        said = str(await person.project.messages(session))
        assert "goes on" in said
        assert second[0] not in said
        # Taken away: what ran with it is over, and nothing goes on with it.
        pid = await pid_of(person.project, other)
        assert (await person.call("DELETE", "")).status == 200
        await eventually(lambda: not alive(pid))
        refused = await person.project.call("POST", f"/session/{session}/prompt", {"prompt": "[]"})
        assert (refused.status, refused.json["code"]) == (401, "auth_required")
