"""The shipped alert rules and dashboard with a real Prometheus, reading a live gateway."""

import asyncio
import json
import re
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import attrs
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.fakes.container import FakeContainer
from tests.fakes.eventually import until
from tests.program import free_ports
from tests.world import Gateway

SHIPPED = Path(__file__).parents[2] / "deploy" / "prometheus"
DASHBOARD = json.loads((SHIPPED / "grafana-dashboard.json").read_text())
OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"
_METRIC = re.compile(r"\bacp_gateway_[a-z_]+")


@pytest.mark.parametrize(
    "command",
    [("check", "rules", "alerts.yml"), ("check", "config", "prometheus.yml"), ("test", "rules", "alerts_test.yml")],
)
def test_promtool_finds_nothing_wrong(promtool: Path, command: tuple[str, ...]) -> None:
    done = subprocess.run([promtool, *command], cwd=SHIPPED, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def rules() -> list[dict[str, Any]]:
    document = yaml.safe_load((SHIPPED / "alerts.yml").read_text())
    return [rule for group in document["groups"] for rule in group["rules"]]


def test_each_alert_is_tested_and_explained_where_it_says() -> None:
    tests = yaml.safe_load((SHIPPED / "alerts_test.yml").read_text())["tests"]
    fires = {one["alertname"] for test in tests for one in test["alert_rule_test"] if one["exp_alerts"]}
    headings = {
        f"docs/operations.md#{text.lower()}" for text in re.findall(r"^#+ (\w+)$", OPERATIONS.read_text(), re.M)
    }
    for rule in rules():
        assert rule["alert"] in fires
        assert rule["annotations"]["runbook"] == f"docs/operations.md#{rule['alert'].lower()}"
        assert rule["annotations"]["runbook"] in headings


def expressions() -> list[str]:
    """The dashboard's, as Grafana sends them with everything chosen."""
    found = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    return [one.replace("$__rate_interval", "1m").replace('"$instance"', '".*"') for one in found]


async def test_what_rules_and_dashboard_ask_for_is_there(gateway: Gateway) -> None:
    text = (await gateway.call("GET", "/metrics")).body.decode()
    names = {family.name for family in text_string_to_metric_families(text)}
    asked = {name for one in (*expressions(), *(rule["expr"] for rule in rules())) for name in _METRIC.findall(one)}
    known = {re.sub(r"_(total|bucket|count|sum)$", "", name) for name in asked}
    # Told by workers only.
    assert known - names == {"acp_gateway_worker_up"}
    everything = {name for name in names if name.startswith("acp_gateway_")}
    assert everything - known == {"acp_gateway_build"}, "a figure that neither shows"


@attrs.frozen
class Prometheus:
    """A running Prometheus."""

    url: str
    http: aiohttp.ClientSession

    async def ask(self, expression: str) -> list[dict[str, Any]]:
        async with self.http.get(f"{self.url}/api/v1/query", params={"query": expression}) as answer:
            told = await answer.json()
            assert told["status"] == "success", (expression, told)
            return list(told["data"]["result"])

    async def firing(self) -> set[str]:
        async with self.http.get(f"{self.url}/api/v1/alerts") as answer:
            alerts = (await answer.json())["data"]["alerts"]
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}


@asynccontextmanager
async def prometheus(program: Path, home: Path, gateway: Gateway) -> AsyncIterator[Prometheus]:
    """The shipped configuration and rules, asked every half second; what waits minutes here waits a second."""
    home.mkdir()  # noqa: ASYNC240 - once, before anything runs
    config = (SHIPPED / "prometheus.yml").read_text()
    config = config.replace("15s", "500ms").replace("127.0.0.1:8080", gateway.url.removeprefix("http://"))
    (home / "prometheus.yml").write_text(config)
    rules_text = re.sub(r"for: \d+m", "for: 1s", (SHIPPED / "alerts.yml").read_text())
    (home / "alerts.yml").write_text(rules_text)
    port, log = free_ports(1), (home / "log").open("wb")
    process = await asyncio.create_subprocess_exec(
        program,
        f"--config.file={home}/prometheus.yml",
        f"--storage.tsdb.path={home}/data",
        f"--web.listen-address=127.0.0.1:{port}",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=log,
    )
    log.close()
    try:
        async with aiohttp.ClientSession() as http:
            one = Prometheus(f"http://127.0.0.1:{port}", http)

            async def is_ready() -> bool:
                assert process.returncode is None, (home / "log").read_text()
                try:
                    async with http.get(f"{one.url}/-/ready") as answer:
                        return answer.status == 200
                except aiohttp.ClientConnectionError:
                    return False

            await until(is_ready, within=60)
            yield one
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def shows(seen: Prometheus, expression: str) -> bool:
    return bool(await seen.ask(expression))


async def test_series_are_seen_and_an_alert_fires_and_ends(
    gateway: Gateway, base_container: FakeContainer, prometheus_program: Path, tmp_path: Path
) -> None:
    project = await gateway.register(base_container.url, defaultAgentId="demo")
    session = await project.create_session()
    async with prometheus(prometheus_program, tmp_path / "prometheus", gateway) as seen, project.events() as stream:
        await stream.block()
        await project.prompt(session, "think\nstream 5")

        async def says(expression: str, value: float) -> bool:
            found = await seen.ask(expression)
            return bool(found) and float(found[0]["value"][1]) == value

        for expression, value in (
            ('up{job="acp-gateway"}', 1),
            ("acp_gateway_streams", 1),
            ('acp_gateway_turns_ended_total{outcome="completed"}', 1),
            ('acp_gateway_followers{state="connected"}', 1),
        ):
            await until(partial(says, expression, value))
        assert await seen.firing() == set()

        # What has not happened here has no series.
        expected = [one for one in expressions() if 'failure!="none"' not in one and "upstream_errors" not in one]
        for expression in expected:
            await until(partial(shows, seen, expression))

        await base_container.refuse()
        base_container.drop_streams()

        async def fires() -> bool:
            return "AcpGatewayContainersAway" in await seen.firing()

        await until(fires, within=60)
        await base_container.listen()

        async def ends() -> bool:
            return not await fires()

        await until(ends, within=60)
        # The break was a gap, which is told by its reason.
        assert await says('acp_gateway_gaps_total{reason="stream_interrupted"}', 1)
