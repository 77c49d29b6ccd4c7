"""Configurations that would let in whom nobody meant do not start, and say what would be right."""

from pathlib import Path
from typing import Any

import attrs
import pytest

from gateway.config.schema import Config, ContainersConfig, IdentityConfig, ServerConfig
from gateway.errors import ConfigError
from gateway.identity.safety import refuse_unsafe
from tests.program import UNSAID, free_ports, run, run_to_end
from tests.world import GatewayProcess


def configured(host: str, **identity: Any) -> Config:
    return Config(server=ServerConfig(host=host), identity=IdentityConfig(**identity))


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (configured("0.0.0.0"), "identity.modes is empty"),
        (configured("0.0.0.0", modes=("local",)), "identity.modes contains local"),
        (configured("::", modes=("tokens", "local"), allowed_hosts=("h",)), "identity.modes contains local"),
        (configured("10.0.0.7", modes=("tokens",)), "identity.allowed_hosts is empty"),
        (configured("127.0.0.1", modes=("proxy",)), "identity.proxy_addresses is empty"),
    ],
)
def test_what_is_unsafe_does_not_start(config: Config, said: str) -> None:
    with pytest.raises(ConfigError, match=said.replace(".", r"\.")):
        refuse_unsafe(config)


@pytest.mark.parametrize(
    "config",
    [
        configured("127.0.0.1"),
        configured("::1", modes=("local", "tokens")),
        configured("0.0.0.0", modes=("tokens",), allowed_hosts=("gateway.example.com",)),
        configured("0.0.0.0", modes=("proxy",), allowed_hosts=("h",), proxy_addresses=("10.0.0.1",)),
    ],
)
def test_what_is_safe_does(config: Config) -> None:
    refuse_unsafe(config)


PROXIED = IdentityConfig(modes=("proxy",), proxy_addresses=("10.0.0.1",))


def with_project_hosts(public_url: str = "", **identity: Any) -> Config:
    server = ServerConfig(project_hosts="*.agents.example.com", public_url=public_url)
    return Config(server=server, identity=IdentityConfig(**identity))


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (with_project_hosts(allowed_hosts=("a", "Shop.Agents.example.com")), "identity.allowed_hosts: shop.agents"),
        (
            with_project_hosts(allowed_origins=("https://shop.agents.example.com:8443",)),
            "identity.allowed_origins: shop",
        ),
        (with_project_hosts("https://shop.agents.example.com/x"), "server.public_url: shop.agents.example.com is a"),
    ],
)
def test_a_name_that_is_a_projects_is_not_the_gateways_too(config: Config, said: str) -> None:
    with pytest.raises(ConfigError, match=said.replace(".", r"\.")):
        refuse_unsafe(config)


def test_names_beside_those_of_projects_are_the_gateways() -> None:
    hosts = ("agents.example.com", "gateway.example.com", "a.b.agents.example.com")
    refuse_unsafe(with_project_hosts("https://agents.example.com", allowed_hosts=hosts))


def test_containers_are_not_told_whom_the_proxy_names_whatever_is_configured() -> None:
    containers = ContainersConfig(forward_headers=("x-forwarded-user",))
    with pytest.raises(ConfigError, match=r"containers\.forward_headers contains X-Forwarded-User"):
        refuse_unsafe(Config(identity=PROXIED, containers=containers))
    refuse_unsafe(Config(containers=containers))


def serve(directory: Path, *options: str, **environ: str) -> str:
    ended = run_to_end("serve", "--data-dir", str(directory / "data"), *options, directory=directory, environ=environ)
    assert (ended.status, ended.stdout) == (1, "")
    return ended.stderr


def test_a_sidecar_without_a_local_user_wants_an_owner(tmp_path: Path) -> None:
    container = ["--container", "http://127.0.0.1:4096"]
    assert "--owner" in serve(tmp_path, *container, ACP_GATEWAY_IDENTITY_MODES="tokens")
    for address in ("http://127.0.0.1:4096", "http://localhost:4096", "http://[::1]:4096"):
        assert "serve creates a token" in serve(tmp_path, "--container", address, ACP_GATEWAY_IDENTITY_MODES="local")
    assert "--owner 'rule'" in serve(tmp_path, *container, "--owner", "rule")
    assert "--owner 'alice': it goes with --container" in serve(tmp_path, "--owner", "alice")


def test_up_is_for_the_local_user(tmp_path: Path) -> None:
    ended = run_to_end("up", directory=tmp_path, environ={"ACP_GATEWAY_IDENTITY_MODES": "tokens"})
    assert ended.status == 1
    assert "use serve" in ended.stderr


async def test_a_sidecars_project_is_its_owners_and_can_be_given_to_another(database_url: str, tmp_path: Path) -> None:
    environ = {"ACP_GATEWAY_DATABASE_URL": database_url, **UNSAID}
    for owner, options in (("local", []), ("alice", ["--owner", "alice"]), ("alice", []), ("bob", ["--owner", "bob"])):
        where = ["--port", str(free_ports(1)), "--data-dir", str(tmp_path / "data")]
        arguments = ["serve", *where, "--container", "http://127.0.0.1:4096", *options]
        with run(*arguments, directory=tmp_path, environ=environ) as program:
            program.wait_until_says("gateway       http")
            assert "identity      tokens\n" in program.said()
        proxied = IdentityConfig(modes=("proxy", "local"), proxy_addresses=("127.0.0.1",))
        async with attrs.evolve(GatewayProcess(database_url), config=Config(identity=proxied)).run() as gateway:
            asks = gateway if owner == "local" else gateway.as_user(owner)
            assert (await asks.call("GET", "/api/projects/default")).json["ownerId"] == owner
