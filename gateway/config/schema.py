"""The configuration, as frozen values: what can be set, its defaults, and what each setting takes.

``gateway/config/load.py`` reads it from a file and from variables; ``config.example.toml`` explains it.
"""

import ipaddress
import re
from typing import Any

import attrs

from gateway.wire.hosts import parse_host
from gateway.wire.pages import is_loopback as is_loopback

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


def _some_of(*words: str, least: int = 0) -> Any:
    def check(_: object, attribute: "attrs.Attribute[Any]", value: tuple[str, ...]) -> None:
        unknown = next((word for word in value if word not in words), None)
        if unknown is not None or len(value) < least:
            raise ValueError(f"must be some of {', '.join(words)}, not {unknown or 'none'!r}")

    return check


def _matching(pattern: str, what: str, *, secret: bool = False) -> Any:
    """A text, or each text of a tuple, must match all of ``pattern``. Of a secret nothing is quoted."""

    def check(_: object, attribute: "attrs.Attribute[Any]", value: str | tuple[str, ...]) -> None:
        for text in (value,) if isinstance(value, str) else value:
            if not re.fullmatch(pattern, text):
                raise ValueError(f"must be {what}" + ("" if secret else f", not {text[:100]!r}"))

    return check


def _not_empty(_: object, attribute: "attrs.Attribute[Any]", value: str) -> None:
    if not value:
        raise ValueError("must not be empty")


_HOST_NAME = r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*"
_http_or_empty = _matching(r"(https?://.*)?", "an address that begins with http:// or https://")
_bearer = _matching(r"[!-~]*", "printable ASCII characters without spaces and line breaks", secret=True)
_field_value = _matching(
    r"([!-~]+( +[!-~]+)*)?",
    "printable ASCII characters, with no line breaks and no spaces at its ends",
    secret=True,
)
_base_url = _matching(
    r"(https?://[A-Za-z0-9.:\[\]-]+(/[A-Za-z0-9._~/-]*[A-Za-z0-9._~-])?)?",
    "an address such as https://agents.example.org with no / at its end",
)
_header_name = _matching(r"[A-Za-z0-9-]+", "the name of a header such as X-Forwarded-User")
_hosts = _matching(r"[A-Za-z0-9.-]+|[0-9A-Fa-f:]+", "names such as gateway.example.com, without port and wildcards")
_hosts_below = _matching(
    rf"(\*\.)?{_HOST_NAME}", "names such as agents.example.org, without port, or *.example.org for all below"
)
_origins = _matching(
    r"[a-z][a-z0-9+.-]*://[a-z0-9.:\[\]-]+(?<!:80)(?<!:443)",
    "origins as browsers send them, such as https://app.example.com (lower case, no path, no default port)",
)


def _wildcard(_: object, attribute: "attrs.Attribute[Any]", value: str) -> None:
    star, _, suffix = value.partition(".")
    host = parse_host(suffix)
    # Each project has a host below localhost anyway.
    is_name = host is not None and host.port is None and not re.search(r":|^[0-9.]+$|\.$|(^|\.)localhost$", host.name)
    if value and (star != "*" or not is_name):
        raise ValueError(f"must be a name such as *.agents.example.com, without port, not {value!r}")


PORT = _between(1, 65535)


@attrs.frozen(kw_only=True)
class ServerConfig:
    """Where the gateway listens."""

    host: str = attrs.field(default="127.0.0.1", validator=_not_empty)
    port: int = attrs.field(default=8080, validator=PORT)
    workers: int = attrs.field(default=1, validator=_between(1, 64))
    stop_delay: float = attrs.field(default=0.0, validator=_between(0, 600))
    shutdown_timeout: float = attrs.field(default=5.0, validator=_between(0, 600))
    public_url: str = attrs.field(default="", validator=_base_url)
    project_hosts: str = attrs.field(default="", validator=_wildcard)
    max_body_bytes: int = attrs.field(default=33_554_432, validator=_between(1024, 2**31))
    idempotency_hours: float = attrs.field(default=24.0, validator=_between(0.01, 8760))


IDENTITY_MODES = ("local", "tokens", "jwt", "proxy")
#: Asymmetric ones only: with "none" or HMAC anybody who has the published key could sign.
JWT_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")


def _users(_: object, attribute: "attrs.Attribute[Any]", value: tuple[str, ...]) -> None:
    for text in value:
        if not text.isprintable() or not 1 <= len(text) <= 200:
            raise ValueError(f'must be user ids as tokens, JWTs or the proxy name them, or "*", not {text!r}')


def _networks(_: object, attribute: "attrs.Attribute[Any]", value: tuple[str, ...]) -> None:
    for text in value:
        try:
            ipaddress.ip_network(text)
        except ValueError as exc:
            raise ValueError(f"must be addresses or networks such as 10.0.0.0/8: {exc}") from None


@attrs.frozen(kw_only=True)
class IdentityConfig:
    """How callers are identified."""

    #: Empty: the command decides. ``up`` takes ``local``; ``serve`` takes ``tokens`` and makes the first one.
    modes: tuple[str, ...] = attrs.field(default=(), validator=_some_of(*IDENTITY_MODES))
    jwt_issuer: str = ""
    jwt_audience: str = ""
    jwt_jwks_url: str = ""
    jwt_algorithms: tuple[str, ...] = attrs.field(
        default=("RS256", "ES256"), validator=_some_of(*JWT_ALGORITHMS, least=1)
    )
    jwt_user_claim: str = attrs.field(default="sub", validator=_not_empty)
    proxy_header: str = attrs.field(default="X-Forwarded-User", validator=_header_name)
    proxy_addresses: tuple[str, ...] = attrs.field(default=(), validator=_networks)
    allowed_hosts: tuple[str, ...] = attrs.field(default=(), validator=_hosts)
    allowed_origins: tuple[str, ...] = attrs.field(default=(), validator=_origins)
    project_creators: tuple[str, ...] = attrs.field(default=("*",), validator=_users)
    audit_days: int = attrs.field(default=365, validator=_between(8, 36_500))


@attrs.frozen(kw_only=True)
class DatabaseConfig:
    """Which PostgreSQL, and how it is used. The URL may hold a password."""

    url: str = attrs.field(default="", repr=False)
    direct_url: str = attrs.field(default="", repr=False)
    pool_size: int = attrs.field(default=8, validator=_between(2, 200))
    statement_timeout: float = attrs.field(default=15.0, validator=_between(1, 3600))
    connect_timeout: float = attrs.field(default=5.0, validator=_between(0.1, 60))


#: Loopback, and private addresses (RFC 1918, 6598 and 4193).
PRIVATE_NETWORKS = (
    *("127.0.0.0/8", "::1"),
    *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"),
)


#: Fields of one connection, credentials of the gateway's users, and what the gateway itself tells containers.
NEVER_FORWARDED = frozenset(
    {
        *("authorization", "cookie", "connection", "content-length", "expect", "host", "keep-alive", "te", "trailer"),
        *("transfer-encoding", "upgrade", "via"),
        *("x-forwarded-for", "x-forwarded-host", "x-forwarded-prefix", "x-forwarded-proto"),
    }
)
#: The longest name of a header field that is forwarded.
MAX_FIELD_NAME = 64


def _forwarded(_: object, attribute: "attrs.Attribute[Any]", value: tuple[str, ...]) -> None:
    for name in value:
        if not re.fullmatch(r"[A-Za-z0-9_-]+", name) or len(name) > MAX_FIELD_NAME:
            raise ValueError(f"must be names of header fields such as X-Tenant, not {name!r}")
        if name.lower() in NEVER_FORWARDED or name.lower().startswith("proxy-"):
            raise ValueError(f"must not name {name}, which belongs to the gateway's own connections and users")


@attrs.frozen(kw_only=True)
class ContainersConfig:
    """How containers are reached."""

    allow: tuple[str, ...] = PRIVATE_NETWORKS
    shared: bool = False
    opencode_port: int = attrs.field(default=4096, validator=PORT)
    acp_port: int = attrs.field(default=4097, validator=PORT)
    token: str = attrs.field(default="", repr=False, validator=_bearer)
    forward_headers: tuple[str, ...] = attrs.field(default=(), validator=_forwarded)
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
    max_event_bytes: int = attrs.field(default=4_194_304, validator=_between(4096, 2**26))
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
    """How many prompts may be queued, and when turns that do not end are ended."""

    max_queued: int = attrs.field(default=16, validator=_between(0, 10_000))
    cancel_timeout: float = attrs.field(default=10.0, validator=_between(0.1, 3600))
    stall_after: float = attrs.field(default=1800.0, validator=_between(0.1, 604_800))
    lost_after: float = attrs.field(default=300.0, validator=_between(0.1, 86400))


@attrs.frozen(kw_only=True)
class PermissionsConfig:
    """When permission requests that nobody answers are refused."""

    timeout: float = attrs.field(default=600.0, validator=_between(0.1, 604_800))


@attrs.frozen(kw_only=True)
class OAuthConfig:
    """How OAuth providers are called."""

    timeout: float = attrs.field(default=20.0, validator=_between(0.1, 120))
    allow_http_loopback: bool = False


@attrs.frozen(kw_only=True)
class ProviderBodies:
    """The format of the bodies sent to a provider: form or json, and for ``revoke`` also github."""

    exchange: str | None = None
    refresh: str | None = None
    revoke: str | None = None
    send_state: bool | None = None
    scope_on_refresh: bool | None = None


@attrs.frozen(kw_only=True)
class ProviderExpiry:
    """When a provider's tokens expire, if it does not say."""

    default_ttl: float | None = None
    skew: float | None = None
    from_jwt_exp: bool | None = None


@attrs.frozen(kw_only=True)
class ProviderConfig:
    """An operator's settings of one OAuth provider; None means as in its preset."""

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
    registry: str = attrs.field(default="", validator=_http_or_empty)
    token: str = attrs.field(default="", repr=False, validator=_bearer)
    allowed_hosts: tuple[str, ...] = attrs.field(default=(), validator=_hosts_below)
    permission_timeout: float = attrs.field(default=600.0, validator=_between(0.1, 86400))
    journal_events: int = attrs.field(default=10_000, validator=_between(1, 10_000_000))


@attrs.frozen(kw_only=True)
class LimitsConfig:
    """How much one user or project may use at once; 0 means no limit."""

    requests_per_second: float = attrs.field(default=200.0, validator=_between(0, 1_000_000))
    turns_per_user: int = attrs.field(default=100, validator=_between(0, 1_000_000))
    turns_per_project: int = attrs.field(default=100, validator=_between(0, 1_000_000))
    sessions_per_project: int = attrs.field(default=1000, validator=_between(0, 10_000_000))
    streams_per_user: int = attrs.field(default=10_000, validator=_between(0, 10_000_000))
    projects_per_user: int = attrs.field(default=100, validator=_between(0, 10_000_000))
    prompt_bytes: int = attrs.field(default=4_194_304, validator=_between(0, 2**31))
    page: int = attrs.field(default=200, validator=_between(1, 200))


@attrs.frozen(kw_only=True)
class EmbeddedConfig:
    """The embedded PostgreSQL of ``acp-gateway up``, and of ``serve`` where no database is named."""

    data_dir: str = ""


@attrs.frozen(kw_only=True)
class VaultConfig:
    """Where the keys are that seal users' secrets."""

    key_file: str = ""
    keys: str = attrs.field(default="", repr=False)


@attrs.frozen(kw_only=True)
class CredentialsConfig:
    """How agents get users' credentials."""

    catalogue: str = ""


@attrs.frozen(kw_only=True)
class MetricsConfig:
    """Who may read ``/metrics``."""

    allow: tuple[str, ...] = attrs.field(default=("127.0.0.0/8", "::1"), validator=_networks)
    token: str = attrs.field(default="", repr=False, validator=_bearer)


@attrs.frozen(kw_only=True)
class TracingConfig:
    """Where OpenTelemetry traces are sent."""

    endpoint: str = attrs.field(default="", validator=_http_or_empty)
    authorization: str = attrs.field(default="", repr=False, validator=_field_value)
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
