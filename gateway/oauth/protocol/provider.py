"""A provider as a value: its endpoints, and its dialect of OAuth."""

import attrs

PKCE, DEVICE, OPENAI_DEVICE = FLOWS = ("pkce", "device", "openai_device")
#: Where the browser goes after the login: to the gateway (an address per provider, or per agent and project), or to a
#: local address or a page of the provider, from which the user pastes.
GATEWAY_CALLBACK, PROJECT_CALLBACK, LOOPBACK_PASTE, PROVIDER_PAGE_PASTE = REDIRECT_MODES = (
    "gateway_callback",
    "project_callback",
    "loopback_paste",
    "provider_page_paste",
)
FORM, JSON, GITHUB = "form", "json", "github"
S256, NO_PKCE = "S256", "none"


@attrs.frozen(kw_only=True)
class Bodies:
    """The formats of bodies. ``revoke`` may be ``github``, which is not RFC 7009."""

    exchange: str = FORM
    refresh: str = FORM
    revoke: str = FORM
    #: Whether the code exchange repeats the state.
    send_state: bool = False
    #: Whether a refresh repeats the scopes.
    scope_on_refresh: bool = False


@attrs.frozen(kw_only=True)
class Expiry:
    """When a token expires if the response has no ``expires_in``."""

    #: Seconds; None: it does not expire, as far as is known.
    default_ttl: float | None = None
    #: A token is renewed at the latest this many seconds before it expires.
    skew: float = 60.0
    #: Whether the access token is a JWT whose ``exp`` counts.
    from_jwt_exp: bool = False


@attrs.frozen(kw_only=True)
class Provider:
    """An OAuth provider."""

    id: str
    name: str
    #: Supported flows, the preferred one first.
    flows: tuple[str, ...]
    authorize_url: str = ""
    token_url: str = ""
    device_url: str = ""
    #: ``openai_device`` only: where to poll, and where the user enters the code.
    device_token_url: str = ""
    verification_url: str = ""
    revoke_url: str = ""
    client_id: str = ""
    client_secret: str = attrs.field(default="", repr=False)
    #: How the client secret is sent: body or basic.
    client_auth: str = "body"
    #: Whether the authorization code flow requires a client secret.
    needs_secret: bool = False
    scopes: tuple[str, ...] = ()
    pkce: str = S256
    redirect_mode: str = GATEWAY_CALLBACK
    #: For the two paste modes.
    redirect_uri: str = ""
    extra_authorize_params: dict[str, str] = attrs.field(factory=dict)
    bodies: Bodies = attrs.field(factory=Bodies)
    #: The expected ``iss``, and whether it is required (RFC 9207).
    issuer: str = ""
    require_iss: bool = False
    #: Whether the endpoints are read from the issuer's metadata (OpenID Connect Discovery, RFC 8414).
    discover: bool = False
    expiry: Expiry = attrs.field(factory=Expiry)
    #: The agents that its tokens are for.
    agents: tuple[str, ...] = ()
    enabled: bool = True
    #: What the operator should know before enabling it.
    policy_note: str = ""

    @property
    def is_on(self) -> bool:
        """Whether users can log in: it is enabled and has a client id."""
        return self.enabled and bool(self.client_id) and bool(self.usable_flows)

    @property
    def usable_flows(self) -> tuple[str, ...]:
        return tuple(flow for flow in self.flows if flow != PKCE or self.client_secret or not self.needs_secret)

    @property
    def pastes(self) -> bool:
        """Whether the user must paste the code."""
        return self.redirect_mode in (LOOPBACK_PASTE, PROVIDER_PAGE_PASTE)

    @property
    def secrets(self) -> tuple[str, ...]:
        return (self.client_secret,) if self.client_secret else ()
