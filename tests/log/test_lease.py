"""Who follows a container: one gateway at a time, and another as soon as that one is gone."""

from gateway.keys import FOLLOWERS
from tests.world import QUICK, GatewayProcess


async def test_a_project_is_held_by_one_gateway_and_by_none_once_that_has_stopped(
    database_url: str, agent_host: str
) -> None:
    gateways = GatewayProcess(database_url, QUICK)
    async with gateways.run() as first, gateways.run() as second:
        project = await first.register(agent_host)
        await project.create_session()
        held = [one.app[FOLLOWERS].held() for one in (first, second)]
        assert held == [["demo"], []]
        followers = first.app[FOLLOWERS]
    assert followers.held() == []
