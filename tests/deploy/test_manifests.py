"""What ``deploy/`` gives to Docker Compose and Kubernetes: valid for them, and true of this gateway."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from gateway.config.load import PREFIX, load, variables
from gateway.config.schema import Config, ServerConfig
from gateway.db.embedded import STOP_SECONDS
from gateway.identity.safety import refuse_unsafe
from gateway.server.listening import FLUSH_SECONDS
from gateway.server.run import GRACE
from gateway.web.routes import ENDPOINTS

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "deploy" / "compose.yaml"
MANIFESTS = sorted((ROOT / "deploy" / "kubernetes").glob("*.yaml"))
KUBERNETES = "1.37"
#: What the gateway's image has beside what every gateway needs.
EXTRAS = ("tracing", "embedded")
#: Names of images as deploy/ has them, with the Dockerfile's target for each.
TARGETS = {"acp-gateway": "gateway", "acp-agent-host": "agent-host"}


def documents(path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(path.read_text("utf-8")))


def containers(path: Path) -> Iterator[dict[str, Any]]:
    for document in documents(path):
        template = document.get("spec", {}).get("template")
        yield from template["spec"]["containers"] if template else ()


def pods(path: Path) -> Iterator[dict[str, Any]]:
    for document in documents(path):
        if template := document.get("spec", {}).get("template"):
            yield template["spec"]


def dockerfile_targets() -> set[str]:
    return set(re.findall(r"^FROM .* AS (\S+)$", (ROOT / "Dockerfile").read_text("utf-8"), re.MULTILINE))


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_a_manifest_is_what_kubernetes_takes(path: Path) -> None:
    found = documents(path)
    assert found
    for document in found:
        kubernetes_validate.validate(document, KUBERNETES, strict=True)


def test_a_manifest_that_kubernetes_does_not_take_is_found() -> None:
    document = documents(MANIFESTS[0])[1]
    document["spec"]["replicas"] = "three"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(document, KUBERNETES, strict=True)


def test_each_variable_that_is_set_is_a_setting() -> None:
    compose = yaml.safe_load(COMPOSE.read_text("utf-8"))
    names = {name for service in compose["services"].values() for name in service.get("environment", {})}
    names |= {variable["name"] for path in MANIFESTS for one in containers(path) for variable in one.get("env", ())}
    ours = {name for name in names if name.startswith((PREFIX, "ACP_"))}
    assert {f"{PREFIX}DATABASE_URL", f"{PREFIX}VAULT_KEYS", "ACP_HOST_TOKEN"} <= ours
    assert ours <= set(variables())


def test_a_volume_with_a_vaults_key_is_not_opened_to_its_group_at_each_mount() -> None:
    [pod] = pods(ROOT / "deploy/kubernetes/sidecar.yaml")
    assert pod["securityContext"]["fsGroupChangePolicy"] == "OnRootMismatch"


def configuration_of_the_fleet(tmp_path: Path) -> Config:
    (config,) = (one for one in documents(ROOT / "deploy/kubernetes/fleet.yaml") if one["kind"] == "ConfigMap")
    path = tmp_path / "config.toml"
    path.write_text(config["data"]["config.toml"], "utf-8")
    return load(path, environ={})


def test_the_configuration_of_the_fleet_can_be_loaded(tmp_path: Path) -> None:
    loaded = configuration_of_the_fleet(tmp_path)
    assert loaded.server.host == "0.0.0.0"
    refuse_unsafe(loaded)


def test_the_sidecar_and_the_compose_file_let_in_nobody_unasked() -> None:
    compose = yaml.safe_load(COMPOSE.read_text("utf-8"))
    [sidecar] = [one for one in containers(ROOT / "deploy/kubernetes/sidecar.yaml") if one["name"] == "gateway"]
    for given in (
        compose["services"]["gateway"]["environment"],
        {variable["name"]: variable["value"] for variable in sidecar["env"] if "value" in variable},
    ):
        config = load(environ={name: value for name, value in given.items() if "${" not in value})
        assert config.server.host == "0.0.0.0"
        refuse_unsafe(config)


def test_the_agent_host_of_the_compose_file_answers_to_the_name_that_its_comment_registers() -> None:
    service = yaml.safe_load(COMPOSE.read_text("utf-8"))["services"]["project"]
    config = load(environ={name: value for name, value in service["environment"].items() if "${" not in value})
    [name] = config.agent_host.allowed_hosts
    assert f'"containerUrl": "http://{name}:4096"' in COMPOSE.read_text("utf-8")


def test_each_image_is_a_target_of_the_dockerfile() -> None:
    compose = yaml.safe_load(COMPOSE.read_text("utf-8"))
    built = {service["build"]["target"] for service in compose["services"].values() if "build" in service}
    used = {TARGETS[one["image"].partition(":")[0]] for path in MANIFESTS for one in containers(path)}
    assert built == used == {"gateway", "agent-host"} <= dockerfile_targets()


def test_what_an_image_copies_is_sent_to_its_build_and_is_all_that_pyproject_wants() -> None:
    lines = re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "Dockerfile").read_text("utf-8"), re.MULTILINE)
    copied = {path for line in lines for path in line.split()}
    copied.remove("deploy/agent-host/requirements.txt")  # with its folder
    ignored = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    assert copied == {line[1:] for line in ignored if line.startswith("!")}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = {project["readme"], *(pattern for pattern in project["license-files"] if "/" not in pattern)}
    assert wanted | {"pyproject.toml", "gateway", "migrations"} <= copied


def test_each_probe_asks_a_route_that_there_is() -> None:
    paths = {
        one[probe]["httpGet"]["path"]
        for path in MANIFESTS
        for one in containers(path)
        for probe in ("startupProbe", "livenessProbe", "readinessProbe")
        if "httpGet" in one.get(probe, {})
    }
    assert paths == {"/healthz", "/readyz"} <= {endpoint.path for endpoint in ENDPOINTS}


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_each_container_runs_as_a_user_with_a_read_only_root_and_no_capability(path: Path) -> None:
    for pod in pods(path):
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["automountServiceAccountToken"] is False
        for one in pod["containers"]:
            confined = one["securityContext"]
            assert confined["readOnlyRootFilesystem"] is True
            assert confined["allowPrivilegeEscalation"] is False
            assert confined["capabilities"] == {"drop": ["ALL"]}


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_no_pod_gets_variables_of_services_whose_names_look_like_settings(path: Path) -> None:
    assert [pod["enableServiceLinks"] for pod in pods(path)] == [False]


def test_an_agent_host_beside_the_gateway_is_another_user_in_pod_and_image() -> None:
    [pod] = pods(ROOT / "deploy/kubernetes/sidecar.yaml")
    users = {one["name"]: (pod["securityContext"] | one["securityContext"])["runAsUser"] for one in pod["containers"]}
    made = re.findall(r"useradd --create-home --uid (\d+) acp", (ROOT / "Dockerfile").read_text("utf-8"))
    assert [users["gateway"], users["agent-host"]] == [int(uid) for uid in made]
    assert users["gateway"] != users["agent-host"]
    assert f"user={users['agent-host']}" in (ROOT / "deploy/try_images.sh").read_text("utf-8")


def stops_within(server: ServerConfig) -> float:
    """Seconds, as docs/operations.md says them."""
    return server.stop_delay + 2 * server.shutdown_timeout + GRACE + FLUSH_SECONDS


def test_whoever_stops_a_gateway_gives_it_the_time_that_it_takes(tmp_path: Path) -> None:
    usual = stops_within(load(environ={}).server)
    compose = yaml.safe_load(COMPOSE.read_text("utf-8"))
    assert float(compose["services"]["gateway"]["stop_grace_period"].removesuffix("s")) > usual
    [sidecar] = pods(ROOT / "deploy/kubernetes/sidecar.yaml")
    assert sidecar["terminationGracePeriodSeconds"] > usual + STOP_SECONDS
    [fleet] = pods(ROOT / "deploy/kubernetes/fleet.yaml")
    [gateway] = fleet["containers"]
    [_, before] = gateway["lifecycle"]["preStop"]["exec"]["command"]
    assert fleet["terminationGracePeriodSeconds"] > float(before) + stops_within(
        configuration_of_the_fleet(tmp_path).server
    )


def test_the_images_install_what_pyproject_pins_and_what_that_needs_by_hash() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = [*project["dependencies"], *(one for extra in EXTRAS for one in project["optional-dependencies"][extra])]
    locked = (ROOT / "deploy" / "requirements.txt").read_text("utf-8")
    pins = {
        line.split(" ;")[0].removesuffix(" \\") for line in locked.splitlines() if "==" in line and line[0] not in "# "
    }
    assert {one.split(";")[0].strip() for one in wanted} <= pins
    blocks = re.split(r"(?m)^(?=[a-z])", locked)[1:]
    assert len(blocks) == len(pins)
    assert all("--hash=sha256:" in block for block in blocks)
    assert "://" not in locked
    assert all(f"--extra {extra} " in locked for extra in EXTRAS)
