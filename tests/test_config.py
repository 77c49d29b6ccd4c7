"""The configuration: read from a file, overridden by variables, and refused with the place of what is wrong."""

from pathlib import Path

import attrs
import pytest

from gateway.config.load import load, tables, unknown_variables, variables
from gateway.config.schema import Config, ProviderBodies, ProviderConfig, is_loopback
from gateway.errors import ConfigError
from tests.services import service_link


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


def refusal(path: Path | None, environ: dict[str, str]) -> str:
    with pytest.raises(ConfigError) as caught:
        load(path, environ)
    return str(caught.value)


def test_with_nothing_given_everything_has_a_default() -> None:
    assert load(None, {}) == Config()


def test_a_file_sets_what_it_names_and_leaves_the_rest(file: Path) -> None:
    file.write_text('[server]\nport = 9000\n[events]\nheartbeat = 5\n[logging]\nlevel = "debug"\n')
    config = load(file, {})
    assert (config.server.port, config.events.heartbeat, config.logging.level) == (9000, 5.0, "debug")
    assert config.database == Config().database


#: Values other than the default, where what is checked is a word. Each of the numbers is allowed one more.
OTHERS = {
    ("logging", "format"): "json",
    ("limits", "page"): "100",
    ("tracing", "endpoint"): "http://127.0.0.1:4318",
    ("agent_host", "registry"): "https://registry.example.org/registry.json",
    ("tracing", "ratio"): "0.5",
    ("logging", "access"): "true",
    ("logging", "level"): "error",
    ("identity", "modes"): "proxy,local",
    ("server", "public_url"): "https://agents.example.org",
    ("server", "project_hosts"): "*.agents.example.com",
    ("containers", "forward_headers"): "X-Tenant,baggage",
    ("oauth", "allow_http_loopback"): "true",
    ("containers", "shared"): "true",
    ("identity", "project_creators"): "alice,svc@example.com",
    ("identity", "jwt_algorithms"): "EdDSA,RS512",
    ("identity", "proxy_header"): "X-User",
    ("identity", "allowed_hosts"): "gateway.example.com,10.0.0.7",
    ("identity", "allowed_origins"): "https://app.example.com,http://localhost:3000",
}


@pytest.mark.parametrize("name", sorted(variables()))
def test_each_setting_has_a_variable_that_overrides_the_file(name: str, file: Path) -> None:
    table, setting = variables()[name]
    default = getattr(getattr(Config(), table), setting)
    text = OTHERS.get((table, setting)) or ("127.0.0.9" if isinstance(default, str | tuple) else str(default + 1))
    config = load(None, {name: text})
    expected = tuple(text.split(",")) if isinstance(default, tuple) else type(default)(text)
    assert getattr(getattr(config, table), setting) == expected
    assert config != Config()


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("[server]\nport = 0", "server.port: must be from 1 to 65535, not 0"),
        ("[server]\nport = '80'", "server.port: must be a whole number, not a string"),
        ("[server]\nport = 80.5", "server.port: must be a whole number, not a number"),
        ("[server]\nport = true", "server.port: must be a whole number, not true or false"),
        ("[server]\nprot = 80", "server.prot: unknown (known here: host, port, "),
        ("[sever]\nport = 80", "sever: unknown (known here: server, identity, "),
        ("server = 80", "server: must be an object, not a number"),
        ("[events]\nlease = nan", "events.lease: must be from 0.5 to 300, not nan"),
        ("[events]\nlease = inf", "events.lease: must be from 0.5 to 300, not inf"),
        ("[logging]\nlevel = 'loud'", "logging.level: must be one of debug, info, warning, error, not 'loud'"),
        ("[agent_host]\nworkspace = ''", "agent_host.workspace: must not be empty"),
        ("[server\nport = 80", "not valid TOML: "),
        (
            "[identity]\nmodes = ['local', 'magic']",
            "identity.modes: must be some of local, tokens, jwt, proxy, not 'magic'",
        ),
        ("[identity]\nmodes = 'local'", "identity.modes: must be a list, not a string"),
        ("[identity]\nproxy_addresses = ['10.0.0.1/8']", "identity.proxy_addresses: must be addresses or networks"),
        ("[identity]\nallowed_hosts = ['h:80']", "identity.allowed_hosts: must be names such as"),
        ("[identity]\nallowed_hosts = ['*.h']", "identity.allowed_hosts: must be names such as"),
        ("[identity]\nallowed_origins = ['https://h/']", "identity.allowed_origins: must be origins as browsers"),
        ("[identity]\nallowed_origins = ['null']", "identity.allowed_origins: must be origins as browsers"),
        ("[identity]\nallowed_origins = ['*']", "identity.allowed_origins: must be origins as browsers"),
        ("[identity]\njwt_algorithms = ['none']", "identity.jwt_algorithms: must be some of RS256, "),
        ("[identity]\njwt_algorithms = ['HS256']", "identity.jwt_algorithms: must be some of RS256, "),
        ("[identity]\njwt_algorithms = []", "identity.jwt_algorithms: must be some of RS256, "),
        ("[identity]\nproxy_header = 'a b'", "identity.proxy_header: must be the name of a header"),
    ],
)
def test_what_is_wrong_in_a_file_is_named_with_file_and_setting(file: Path, text: str, place: str) -> None:
    file.write_text(text)
    assert refusal(file, {}).startswith(f"{file}: {place}")


def test_all_that_is_out_of_range_is_named_at_once(file: Path) -> None:
    file.write_text("[server]\nport = 0\n[database]\npool_size = 0\n")
    said = refusal(file, {})
    assert "server.port: " in said
    assert "database.pool_size: " in said


@pytest.mark.parametrize("name", ["missing.toml", "."])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    assert refusal(tmp_path / name, {}).startswith(f"{tmp_path / name}: cannot be read: ")


def test_a_file_that_is_not_utf_8_is_named(file: Path) -> None:
    file.write_bytes(b"[server]\nhost = '\xff'\n")
    assert refusal(file, {}).startswith(f"{file}: not valid TOML: ")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("ACP_GATEWAY_SERVER_PORT", "many", "ACP_GATEWAY_SERVER_PORT: must be a whole number, not 'many'"),
        ("ACP_GATEWAY_SERVER_PORT", "", "ACP_GATEWAY_SERVER_PORT: must be a whole number, not ''"),
        ("ACP_GATEWAY_SERVER_PORT", "70000", "ACP_GATEWAY_SERVER_PORT: must be from 1 to 65535, not 70000"),
        ("ACP_GATEWAY_EVENTS_LEASE", "long", "ACP_GATEWAY_EVENTS_LEASE: must be a number, not 'long'"),
        ("ACP_GATEWAY_EVENTS_LEASE", "nan", "ACP_GATEWAY_EVENTS_LEASE: must be from 0.5 to 300, not nan"),
        ("ACP_GATEWAY_LOGGING_LEVEL", "loud", "ACP_GATEWAY_LOGGING_LEVEL: must be one of debug, info, warning"),
        ("ACP_GATEWAY_SERVER_PORT", "http://10.0.0.1:80", "ACP_GATEWAY_SERVER_PORT: must be a whole number, not 'http"),
        ("ACP_GATEWAY_SERVER_HOST", "", "ACP_GATEWAY_SERVER_HOST: must not be empty"),
        ("ACP_GATEWAY_LOGGING_ACCESS", "TRUE", "ACP_GATEWAY_LOGGING_ACCESS: must be true or false, not 'TRUE'"),
    ],
)
def test_a_wrong_variable_is_named(name: str, text: str, said: str) -> None:
    assert refusal(None, {name: text}).startswith(said)


PROVIDERS = "ACP_GATEWAY_PROVIDERS_<NAME>_ and one of CLIENT_ID, CLIENT_SECRET, "


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("ACP_GATEWAY_PORT", "ACP_GATEWAY_SERVER_PORT"),
        ("ACP_GATEWAY_SERVER_PROT", "ACP_GATEWAY_SERVER_PORT"),
        ("ACP_GATEWAY_DATABASE_URI", "ACP_GATEWAY_DATABASE_URL"),
        ("ACP_GATEWAY_IDENTITY_MODE", "ACP_GATEWAY_IDENTITY_MODES"),
        ("ACP_GATEWAY_QQQQQ", None),
        ("ACP_GATEWAY_", None),
        ("ACP_GATEWAY_PROVIDERS_X_CLIENT", PROVIDERS),
        ("ACP_GATEWAY_PROVIDERS_CLIENT_ID", PROVIDERS),
        ("ACP_GATEWAY_PROVIDERS_", PROVIDERS),
    ],
)
def test_a_variable_that_is_no_setting_changes_nothing_and_is_told_with_the_nearest(
    name: str, nearest: str | None
) -> None:
    environ = {name: "correct-horse"}
    assert load(None, environ) == Config()
    [(message, fields)] = unknown_variables(environ)
    assert message == "variable is no setting and changes nothing"
    assert fields["variable"] == name
    assert fields.get("nearest", "").startswith(nearest or "")
    assert ("nearest" in fields) == (nearest is not None)
    assert "correct-horse" not in repr((message, fields))


#: Services whose variables look like settings, all tables' among them, and those whose `…_PORT` is one.
SERVICES = [
    "acp-gateway",
    "acp-gateway-metrics",
    *(f"acp-gateway-{table.name.replace('_', '-')}" for table in tables()),
    "acp-gateway-containers-opencode",
    "acp-gateway-containers-acp",
    "acp-gateway-providers",
    *(AMBIGUOUS := ("acp-gateway-service", "acp-gateway-server-port-80-tcp")),
]


@pytest.mark.parametrize("protocol", ["tcp", "udp", "sctp"])
@pytest.mark.parametrize("service", SERVICES)
def test_what_kubernetes_tells_of_a_service_changes_nothing_and_is_told_in_one_line(
    service: str, protocol: str
) -> None:
    environ = service_link(service, protocol=protocol)
    assert load(None, environ) == Config()
    told = unknown_variables(environ)
    names = {name for _, fields in told for name in fields.get("variables", fields.get("variable", "")).split(", ")}
    assert names == set(environ)
    if service not in AMBIGUOUS:
        assert [fields["service"] for _, fields in told] == [service]


def test_a_setting_beside_variables_of_a_service_counts(file: Path) -> None:
    file.write_text("[server]\nport = 9000\n")
    environ = {**service_link("acp-gateway-server"), "ACP_GATEWAY_AGENT_HOST_PORT": "9001"}
    config = load(file, environ)
    assert (config.server.port, config.agent_host.port) == (9000, 9001)


def test_known_variables_are_not_warned_of() -> None:
    others = {"PATH": "/bin", "ACP_GATEWAY_TEST_AGENTS": "all", "ACP_GATEWAY_URL": "x", "ACP_HOST_PORT": "tcp://x"}
    provider = {"ACP_GATEWAY_PROVIDERS_SERVICE_PORT_CLIENT_ID": "a"}
    assert unknown_variables({**dict.fromkeys(variables(), "1"), **others, **provider}) == []
    assert load(None, provider).providers["service-port"].client_id == "a"


def test_words_in_a_variable_are_separated_by_commas() -> None:
    def networks(text: str) -> tuple[str, ...]:
        return load(None, {"ACP_GATEWAY_IDENTITY_PROXY_ADDRESSES": text}).identity.proxy_addresses

    assert networks("10.0.0.0/8, ::1") == ("10.0.0.0/8", "::1")
    assert networks("10.0.0.1,") == ("10.0.0.1",)
    assert networks("") == ()


def test_each_provider_has_a_table_and_variables_of_its_own(file: Path) -> None:
    file.write_text('[providers.my-idp]\nclient_id = "a"\nbody = { refresh = "json" }\n')
    environ = {
        "ACP_GATEWAY_PROVIDERS_MY_IDP_CLIENT_SECRET": "s",
        "ACP_GATEWAY_PROVIDERS_GITHUB_CLIENT_ID": "g",
        "ACP_GATEWAY_PROVIDERS_GITHUB_ENABLED": "false",
        "ACP_GATEWAY_PROVIDERS_GITHUB_AGENTS": "copilot, demo",
    }
    found = load(file, environ).providers
    assert found["my-idp"] == ProviderConfig(client_id="a", client_secret="s", body=ProviderBodies(refresh="json"))
    assert found["github"] == ProviderConfig(client_id="g", enabled=False, agents=("copilot", "demo"))


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("[providers.My_IdP]\nclient_id = 'a'", "providers.My_IdP: a provider's name has 1 to 32 of a-z, 0-9 and -"),
        ("[providers.x]\nclient = 'a'", "providers[x].client: unknown (known here: client_id, client_secret, "),
        ("[providers.x]\nscopes = 'a'", "providers[x].scopes: must be a list, not a string"),
        ("[providers.x]\nbody = { token = 'json' }", "providers[x].body.token: unknown (known here: exchange, "),
        ("[server]\npublic_url = 'agents.example.org'", "server.public_url: must be an address such as https://"),
        ("[server]\npublic_url = 'https://agents.example.org/'", "server.public_url: must be an address such as https"),
    ],
)
def test_what_is_wrong_with_a_provider_is_named_with_its_place(file: Path, text: str, place: str) -> None:
    file.write_text(text)
    assert refusal(file, {}).startswith(f"{file}: {place}")


@pytest.mark.parametrize(
    "name",
    [
        *(
            "agents.example.com",
            "*.agents.example.com:8443",
            "*agents.example.com",
            "*.*.example.com",
            "**.example.com",
        ),
        *("*.", "*.localhost", "*.a.localhost", "*.127.0.0.1", "*.[::1]", "*.example.com.", "https://*.example.com"),
        "*.exam ple.com",
    ],
)
def test_a_name_that_cannot_be_that_of_projects_hosts_is_refused(file: Path, name: str) -> None:
    file.write_text(f"[server]\nproject_hosts = '{name}'")
    assert refusal(file, {}).startswith(f"{file}: server.project_hosts: must be a name such as *.agents.example.com")


@pytest.mark.parametrize("name", ["X Tenant", "", "X-Tenant:", "X-T\u00e9nant", "x" * 65])
def test_what_is_no_name_of_a_header_field_is_refused(file: Path, name: str) -> None:
    file.write_text(f"[containers]\nforward_headers = ['{name}']", encoding="utf-8")
    assert refusal(file, {}).startswith(f"{file}: containers.forward_headers: must be names of header fields")


@pytest.mark.parametrize(
    "name", ["Authorization", "cookie", "HOST", "Via", "X-Forwarded-For", "Proxy-Authorization", "Content-Length"]
)
def test_a_header_field_that_is_the_gateways_own_cannot_be_forwarded(file: Path, name: str) -> None:
    file.write_text(f"[containers]\nforward_headers = ['X-Tenant', '{name}']")
    assert refusal(file, {}).startswith(f"{file}: containers.forward_headers: must not name {name}")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("ACP_GATEWAY_PROVIDERS_X_ENABLED", "yes", "must be true or false, not 'yes'"),
    ],
)
def test_a_wrong_variable_of_a_provider_is_named(name: str, text: str, said: str) -> None:
    assert refusal(None, {name: text}).startswith(f"{name}: {said}")


def test_variables_of_others_are_none_of_its_business() -> None:
    assert load(None, {"PATH": "/bin", "ACP_GATEWAY_TEST_DATABASE_URL": "x", "GATEWAY_PORT": "1"}) == Config()


def test_secrets_are_not_in_what_a_configuration_prints() -> None:
    names = {"ACP_GATEWAY_DATABASE_URL", "ACP_GATEWAY_CONTAINERS_TOKEN", "ACP_HOST_TOKEN"}
    assert "correct-horse" not in repr(load(None, dict.fromkeys(names, "correct-horse")))


def test_a_configuration_does_not_change() -> None:
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        Config().server.port = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("[::1]", True), ("localhost", True), ("0.0.0.0", False),
     ("::", False), ("192.0.2.1", False), ("localhost.example.org", False), ("", False)],
)  # fmt: skip
def test_only_addresses_of_this_machine_are_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected
