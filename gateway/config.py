"""The configuration: frozen values from a TOML file, overridden by ``ACP_GATEWAY_*`` variables.

A variable's name is ``ACP_GATEWAY_<TABLE>_<SETTING>``: ``ACP_GATEWAY_DATABASE_URL``, ``ACP_GATEWAY_SERVER_PORT``.
In a variable the words of a list are separated by commas. Of what has a table for each name, a variable names it too:
``ACP_GATEWAY_PROVIDERS_<NAME>_<SETTING>``.
This is the only room that reads the environment. What is unknown or wrong is named with its place.
"""

import difflib
import ipaddress
import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import attrs

from gateway.errors import ConfigError
from gateway.wire.codec import DecodeError, from_builtins, snake_names

PREFIX = "ACP_GATEWAY_"
#: Where the commands of people find a running gateway, and who they are there; no settings of a gateway's own.
CLIENT_VARIABLES = frozenset({"ACP_GATEWAY_URL", "ACP_GATEWAY_TOKEN", "ACP_GATEWAY_TOKEN_FILE"})
TESTS_PREFIX = "ACP_GATEWAY_TEST_"
PROVIDERS_PREFIX = "ACP_GATEWAY_PROVIDERS_"
_PROVIDER_ID = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?")
LOG_LEVELS = ("debug", "info", "warning", "error")


def _between(low: float, high: float) -> Any:
    def check(_: object, attribute: "attrs.Attribute[Any]", value: float) -> None:
        if not low <= value <= high:
            raise ValueError(f"must be from {low:g} to {high:g}, not {value:g}")

    return check


def _one_of(*words: str) -> Any:
    def check(_: object, attribute: "attrs.Attribute[Any]", value: str) -> None:
        if value not in words:
            raise ValueError(f"must be one of {', '.join(words)}, not {value!r}")

    return check


def _not_empty(_: object, attribute: "attrs.Attribute[Any]", value: str) -> None:
    if not value:
        raise ValueError("must not be empty")


def _http_or_empty(_: object, attribute: "attrs.Attribute[Any]", value: str) -> None:
    if value and not value.startswith(("http://", "https://")):
        raise ValueError(f"must begin with http:// or https://, not {value[:40]!r}")


def _origin(_: object, attribute: "attrs.Attribute[Any]", value: str) -> None:
    if value and not re.fullmatch(r"https?://[A-Za-z0-9.:\[\]-]+(/[A-Za-z0-9._~/-]*[A-Za-z0-9._~-])?", value):
        raise ValueError(f"must be an address such as https://agents.example.org with no / at its end, not {value!r}")


PORT = _between(1, 65535)


@attrs.frozen(kw_only=True)
class ServerConfig:
    """Where the gateway listens."""

    host: str = attrs.field(default="127.0.0.1", validator=_not_empty)
    port: int = attrs.field(default=8080, validator=PORT)
    workers: int = attrs.field(default=1, validator=_between(1, 64))
    stop_delay: float = attrs.field(default=0.0, validator=_between(0, 600))
    shutdown_timeout: float = attrs.field(default=5.0, validator=_between(0, 600))
    public_url: str = attrs.field(default="", validator=_origin)
    max_body_bytes: int = attrs.field(default=33_554_432, validator=_between(1024, 2**31))
    idempotency_hours: float = attrs.field(default=24.0, validator=_between(0.01, 8760))


IDENTITY_MODES = ("local", "tokens", "jwt", "proxy")
#: None of them lets whoever knows a public key sign: "none" and the HMAC ones do not come with keys that are published.
JWT_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")


def _modes(_: object, attribute: "attrs.Attribute[Any]", value: tuple[str, ...]) -> None:
    unknown = next((word for word in value if word not in IDENTITY_MODES), None)
    if unknown is not None or not value:
        raise ValueError(f"must be some of {', '.join(IDENTITY_MODES)}, not {unknown or 'none'!r}")


def _algorithms(_: object, attribute: "attrs.Attribute[Any]", value: tuple[str, ...]) -> None:
    unknown = next((word for word in value if word not in JWT_ALGORITHMS), None)
    if unknown is not None or not value:
        raise ValueError(f"must be some of {', '.join(JWT_ALGORITHMS)}, not {unknown or 'none'!r}")


def _header_name(_: object, attribute: "attrs.Attribute[Any]", value: str) -> None:
    if not re.fullmatch(r"[A-Za-z0-9-]+", value):
        raise ValueError(f"must be the name of a header such as X-Forwarded-User, not {value!r}")


def _hosts(_: object, attribute: "attrs.Attribute[Any]", value: tuple[str, ...]) -> None:
    for text in value:
        if not re.fullmatch(r"[A-Za-z0-9.-]+|[0-9A-Fa-f:]+", text):
            raise ValueError(f"must be names such as gateway.example.com, without port and wildcards, not {text!r}")


def _origins(_: object, attribute: "attrs.Attribute[Any]", value: tuple[str, ...]) -> None:
    for text in value:
        if not re.fullmatch(r"[a-z][a-z0-9+.-]*://[a-z0-9.:\[\]-]+", text) or text.endswith((":80", ":443")):
            raise ValueError(
                "must be origins as browsers write them, such as https://app.example.com (lower case, no path, no "
                f"usual port), not {text!r}"
            )


def _networks(_: object, attribute: "attrs.Attribute[Any]", value: tuple[str, ...]) -> None:
    for text in value:
        try:
            ipaddress.ip_network(text)
        except ValueError as exc:
            raise ValueError(f"must be addresses or networks such as 10.0.0.0/8: {exc}") from None


@attrs.frozen(kw_only=True)
class IdentityConfig:
    """How callers are told from one another."""

    modes: tuple[str, ...] = attrs.field(default=("local",), validator=_modes)
    jwt_issuer: str = ""
    jwt_audience: str = ""
    jwt_jwks_url: str = ""
    jwt_algorithms: tuple[str, ...] = attrs.field(default=("RS256", "ES256"), validator=_algorithms)
    jwt_user_claim: str = attrs.field(default="sub", validator=_not_empty)
    proxy_header: str = attrs.field(default="X-Forwarded-User", validator=_header_name)
    proxy_addresses: tuple[str, ...] = attrs.field(default=(), validator=_networks)
    allowed_hosts: tuple[str, ...] = attrs.field(default=(), validator=_hosts)
    allowed_origins: tuple[str, ...] = attrs.field(default=(), validator=_origins)
    audit_days: int = attrs.field(default=365, validator=_between(8, 36_500))


@attrs.frozen(kw_only=True)
class DatabaseConfig:
    """Which PostgreSQL, and how it is used. The URL may hold a password."""

    url: str = attrs.field(default="", repr=False)
    pool_size: int = attrs.field(default=8, validator=_between(2, 200))
    statement_timeout: float = attrs.field(default=15.0, validator=_between(1, 3600))
    connect_timeout: float = attrs.field(default=5.0, validator=_between(0.1, 60))


#: This machine's own addresses, and those that networks give out for themselves: RFC 1918, 6598 and 4193.
PRIVATE_NETWORKS = (
    *("127.0.0.0/8", "::1"),
    *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"),
)


@attrs.frozen(kw_only=True)
class ContainersConfig:
    """How containers are reached."""

    allow: tuple[str, ...] = PRIVATE_NETWORKS
    opencode_port: int = attrs.field(default=4096, validator=PORT)
    acp_port: int = attrs.field(default=4097, validator=PORT)
    token: str = attrs.field(default="", repr=False)
    connect_timeout: float = attrs.field(default=5.0, validator=_between(0.1, 300))
    headers_timeout: float = attrs.field(default=60.0, validator=_between(0.1, 86400))
    idle_timeout: float = attrs.field(default=300.0, validator=_between(0.1, 86400))


@attrs.frozen(kw_only=True)
class EventsConfig:
    """How the log is followed and streamed."""

    heartbeat: float = attrs.field(default=15.0, validator=_between(0.1, 300))
    retry: float = attrs.field(default=1.0, validator=_between(0.01, 300))
    stall: float = attrs.field(default=60.0, validator=_between(1, 86400))
    drain: float = attrs.field(default=2.0, validator=_between(0, 300))
    lease: float = attrs.field(default=5.0, validator=_between(0.5, 300))
    max_event_bytes: int = attrs.field(default=16_777_216, validator=_between(4096, 2**30))
    container_silence: float = attrs.field(default=37.5, validator=_between(0.1, 86400))
    spool_memory_bytes: int = attrs.field(default=8_388_608, validator=_between(65536, 2**31))
    spool_max_bytes: int = attrs.field(default=268_435_456, validator=_between(0, 2**40))
    spool_dir: str = ""
    tail_bytes: int = attrs.field(default=4_194_304, validator=_between(65536, 2**31))
    pack_after: float = attrs.field(default=600.0, validator=_between(0, 31_536_000))
    retention_days: int = attrs.field(default=0, validator=_between(0, 36_500))
    retention_bytes: int = attrs.field(default=0, validator=_between(0, 2**60))


@attrs.frozen(kw_only=True)
class TurnsConfig:
    """How many prompts may wait, and how turns that end by themselves no more are ended."""

    max_queued: int = attrs.field(default=16, validator=_between(0, 10_000))
    cancel_timeout: float = attrs.field(default=10.0, validator=_between(0.1, 3600))
    stall_after: float = attrs.field(default=1800.0, validator=_between(0.1, 604_800))
    lost_after: float = attrs.field(default=300.0, validator=_between(0.1, 86400))


@attrs.frozen(kw_only=True)
class PermissionsConfig:
    """How permission requests that nobody answers end."""

    timeout: float = attrs.field(default=600.0, validator=_between(0.1, 604_800))


@attrs.frozen(kw_only=True)
class OAuthConfig:
    """How providers of accounts are asked."""

    timeout: float = attrs.field(default=20.0, validator=_between(0.1, 120))
    allow_http_loopback: bool = False


@attrs.frozen(kw_only=True)
class ProviderBodies:
    """How the bodies of calls to a provider are written: form or json, and for ``revoke`` also github."""

    exchange: str | None = None
    refresh: str | None = None
    revoke: str | None = None
    send_state: bool | None = None
    scope_on_refresh: bool | None = None


@attrs.frozen(kw_only=True)
class ProviderExpiry:
    """When a provider's tokens end, where it does not say so."""

    default_ttl: float | None = None
    skew: float | None = None
    from_jwt_exp: bool | None = None


@attrs.frozen(kw_only=True)
class ProviderConfig:
    """What an operator says of one provider of accounts; None: as its preset has it."""

    client_id: str | None = None
    client_secret: str | None = attrs.field(default=None, repr=False)
    enabled: bool | None = None
    agents: tuple[str, ...] | None = None
    scopes: tuple[str, ...] | None = None
    name: str | None = None
    flows: tuple[str, ...] | None = None
    issuer: str | None = None
    discover: bool | None = None
    require_iss: bool | None = None
    authorize_url: str | None = None
    token_url: str | None = None
    device_url: str | None = None
    device_token_url: str | None = None
    verification_url: str | None = None
    revoke_url: str | None = None
    client_auth: str | None = None
    needs_secret: bool | None = None
    pkce: str | None = None
    redirect_mode: str | None = None
    redirect_uri: str | None = None
    extra_authorize_params: dict[str, str] | None = None
    body: ProviderBodies = attrs.field(factory=ProviderBodies)
    expiry: ProviderExpiry = attrs.field(factory=ProviderExpiry)


@attrs.frozen(kw_only=True)
class AgentHostConfig:
    """The agent host: what runs inside a container (``acp-gateway agent-host``) and beside ``acp-gateway up``."""

    host: str = attrs.field(default="127.0.0.1", validator=_not_empty)
    port: int = attrs.field(default=4097, validator=PORT)
    workspace: str = attrs.field(default="./workspace", validator=_not_empty)
    catalogue: str = ""
    token: str = attrs.field(default="", repr=False)
    permission_timeout: float = attrs.field(default=600.0, validator=_between(0.1, 86400))
    journal_events: int = attrs.field(default=10_000, validator=_between(1, 10_000_000))


@attrs.frozen(kw_only=True)
class LimitsConfig:
    """How much one user, or one project, may have at once; 0 is no limit."""

    requests_per_second: float = attrs.field(default=200.0, validator=_between(0, 1_000_000))
    turns_per_user: int = attrs.field(default=100, validator=_between(0, 1_000_000))
    turns_per_project: int = attrs.field(default=100, validator=_between(0, 1_000_000))
    sessions_per_project: int = attrs.field(default=1000, validator=_between(0, 10_000_000))
    streams_per_user: int = attrs.field(default=10_000, validator=_between(0, 10_000_000))
    prompt_bytes: int = attrs.field(default=16_777_216, validator=_between(0, 2**31))
    page: int = attrs.field(default=200, validator=_between(1, 200))


@attrs.frozen(kw_only=True)
class EmbeddedConfig:
    """The embedded PostgreSQL of ``acp-gateway up``, and of ``serve`` where no database is named."""

    data_dir: str = ""


@attrs.frozen(kw_only=True)
class VaultConfig:
    """Where the keys are that users' secrets are sealed with."""

    key_file: str = ""
    keys: str = attrs.field(default="", repr=False)


@attrs.frozen(kw_only=True)
class CredentialsConfig:
    """How agents are given users' credentials."""

    catalogue: str = ""


@attrs.frozen(kw_only=True)
class MetricsConfig:
    """Who may read the figures at ``/metrics``."""

    allow: tuple[str, ...] = attrs.field(default=("127.0.0.0/8", "::1"), validator=_networks)
    token: str = attrs.field(default="", repr=False)


@attrs.frozen(kw_only=True)
class TracingConfig:
    """Where traces go, with OpenTelemetry."""

    endpoint: str = attrs.field(default="", validator=_http_or_empty)
    authorization: str = attrs.field(default="", repr=False)
    service: str = attrs.field(default="acp-gateway", validator=_not_empty)
    ratio: float = attrs.field(default=1.0, validator=_between(0, 1))


@attrs.frozen(kw_only=True)
class LoggingConfig:
    """What is logged, to standard error."""

    level: str = attrs.field(default="info", validator=_one_of(*LOG_LEVELS))
    format: str = attrs.field(default="lines", validator=_one_of("lines", "json"))
    access: bool = False


@attrs.frozen(kw_only=True)
class Config:
    """Everything that can be set; ``config.example.toml`` explains each."""

    server: ServerConfig = attrs.field(factory=ServerConfig)
    identity: IdentityConfig = attrs.field(factory=IdentityConfig)
    database: DatabaseConfig = attrs.field(factory=DatabaseConfig)
    containers: ContainersConfig = attrs.field(factory=ContainersConfig)
    events: EventsConfig = attrs.field(factory=EventsConfig)
    turns: TurnsConfig = attrs.field(factory=TurnsConfig)
    permissions: PermissionsConfig = attrs.field(factory=PermissionsConfig)
    oauth: OAuthConfig = attrs.field(factory=OAuthConfig)
    #: By id.
    providers: dict[str, ProviderConfig] = attrs.field(factory=dict)
    agent_host: AgentHostConfig = attrs.field(factory=AgentHostConfig)
    limits: LimitsConfig = attrs.field(factory=LimitsConfig)
    embedded: EmbeddedConfig = attrs.field(factory=EmbeddedConfig)
    vault: VaultConfig = attrs.field(factory=VaultConfig)
    credentials: CredentialsConfig = attrs.field(factory=CredentialsConfig)
    metrics: MetricsConfig = attrs.field(factory=MetricsConfig)
    tracing: TracingConfig = attrs.field(factory=TracingConfig)
    logging: LoggingConfig = attrs.field(factory=LoggingConfig)


def load(path: Path | None = None, environ: Mapping[str, str] | None = None) -> Config:
    """The configuration from ``path`` (TOML; defaults where None), overridden by ``environ``.

    Raises ``ConfigError`` with the file or variable, the setting and what would be right.
    """
    environ = os.environ if environ is None else environ
    tables = _read(path) if path else {}
    config = _structure(tables, source=str(path))
    known = variables()
    for name in sorted(environ):
        if name in known:
            config = _override(config, *known[name], name, environ[name])
        elif name.startswith(PROVIDERS_PREFIX):
            config = _override_provider(config, name, environ[name])
        elif name.startswith(PREFIX) and not name.startswith(TESTS_PREFIX) and name not in CLIENT_VARIABLES:
            raise ConfigError(f"{name}: no such setting{_similar(name, known)}; config.example.toml has them all")
    return config


def environment() -> Mapping[str, str]:
    """The process's environment, for those who hand a scrubbed part of it on."""
    return dict(os.environ)


def tables() -> "list[attrs.Attribute[Any]]":
    """The tables that are there once, each with settings of its own."""
    return [table for table in attrs.fields(Config) if isinstance(table.type, type)]


def variables() -> dict[str, tuple[str, str]]:
    """Each variable's name with the table and the setting that it overrides.

    ``ACP_HOST_TOKEN`` is the container contract's own name for the agent host's secret.
    """
    names = {
        f"{PREFIX}{table.name}_{setting.name}".upper(): (table.name, setting.name)
        for table in tables()
        for setting in attrs.fields(_table_class(table))
    }
    return names | {"ACP_HOST_TOKEN": ("agent_host", "token")}


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a listener on ``host``."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _table_class(table: "attrs.Attribute[Any]") -> type:
    assert isinstance(table.type, type)
    return table.type


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be read: {exc.strerror}") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path}: not valid TOML: {exc}") from exc


def _similar(name: str, known: Iterable[str]) -> str:
    by_rest = {variable.removeprefix(PREFIX): variable for variable in known}
    found = difflib.get_close_matches(name.removeprefix(PREFIX), by_rest, n=3, cutoff=0.5)
    return f" (similar: {', '.join(by_rest[rest] for rest in found)})" if found else ""


def _structure(tables: dict[str, Any], *, source: str) -> Config:
    try:
        # They run below, one by one, because there each knows its place.
        with attrs.validators.disabled():
            config = from_builtins(Config, tables, rename=snake_names)
    except DecodeError as exc:
        raise ConfigError(f"{source}: {str(exc).replace('$.', '')}") from exc
    if wrong := [f"{place}: {reason}" for place, reason in _out_of_range(config)]:
        raise ConfigError(f"{source}: {'; '.join(wrong)}")
    return config


def _out_of_range(config: Config) -> Iterator[tuple[str, ValueError]]:
    for name in config.providers:
        if not _PROVIDER_ID.fullmatch(name):
            yield f"providers.{name}", ValueError("a provider's name has 1 to 32 of a-z, 0-9 and -")
    for table in tables():
        values = getattr(config, table.name)
        for setting in attrs.fields(type(values)):
            try:
                if setting.validator:
                    setting.validator(values, setting, getattr(values, setting.name))
            except ValueError as exc:
                yield f"{table.name}.{setting.name}", exc


def _override(config: Config, table: str, setting: str, variable: str, text: str) -> Config:
    current = getattr(config, table)
    kind = next(field.type for field in attrs.fields(type(current)) if field.name == setting)
    try:
        return attrs.evolve(config, **{table: attrs.evolve(current, **{setting: _parse(kind, text)})})
    except ValueError as exc:
        raise ConfigError(f"{variable}: {exc}") from exc


def _override_provider(config: Config, variable: str, text: str) -> Config:
    settings = {f"_{field.name}".upper(): field for field in attrs.fields(ProviderConfig) if _fits_a_variable(field)}
    rest = variable.removeprefix(PROVIDERS_PREFIX)
    ending = max((ending for ending in settings if rest.endswith(ending)), key=len, default="")
    provider_id = rest.removesuffix(ending).lower().replace("_", "-")
    if not ending or not _PROVIDER_ID.fullmatch(provider_id):
        known = ", ".join(ending.removeprefix("_") for ending in settings)
        raise ConfigError(f"{variable}: no such setting; a provider's are {PROVIDERS_PREFIX}<NAME>_ and one of {known}")
    field = settings[ending]
    try:
        value = _parse(get_args(field.type)[0], text)
    except ValueError as exc:
        raise ConfigError(f"{variable}: {exc}") from exc
    changed = attrs.evolve(config.providers.get(provider_id, ProviderConfig()), **{field.name: value})
    return attrs.evolve(config, providers={**config.providers, provider_id: changed})


def _fits_a_variable(field: "attrs.Attribute[Any]") -> bool:
    return get_args(field.type)[:1] in ((str,), (bool,), (tuple[str, ...],))


def _parse(kind: Any, text: str) -> Any:
    if kind is str:
        return text
    if kind is bool:
        if text not in ("true", "false"):
            raise ValueError(f"must be true or false, not {text!r}")
        return text == "true"
    if kind == tuple[str, ...]:
        return tuple(word for part in text.split(",") if (word := part.strip()))
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise ValueError(f"must be true or false, not {text!r}")
        return text.lower() == "true"
    try:
        return kind(text)
    except ValueError:
        raise ValueError(f"must be a {'whole ' if kind is int else ''}number, not {text!r}") from None
