"""A provider as a value: where it is asked, and the dialect of OAuth that it speaks."""

import attrs

PKCE, DEVICE, OPENAI_DEVICE = FLOWS = ("pkce", "device", "openai_device")
#: Where the browser is sent after the login: to the gateway (one address for each provider, or one for each agent of
#: each project); to an address of the person's own machine or a page of the provider, from which they paste.
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
    """How bodies are written, where providers differ. ``revoke`` may be ``github``: its own call, not RFC 7009."""

    exchange: str = FORM
    refresh: str = FORM
    revoke: str = FORM
    #: Whether the code exchange repeats the state.
    send_state: bool = False
    #: Whether a refresh repeats the scopes.
    scope_on_refresh: bool = False


@attrs.frozen(kw_only=True)
class Expiry:
    """When a token ends, where the answer does not say it in ``expires_in``."""

    #: Seconds; None: it does not end, as far as is known.
    default_ttl: float | None = None
    #: Seconds before its end from which on a token is renewed at the latest.
    skew: float = 60.0
    #: Whether the access token is a JWT whose ``exp`` counts.
    from_jwt_exp: bool = False


@attrs.frozen(kw_only=True)
class Provider:
    """An OAuth provider as this gateway uses it."""

    id: str
    name: str
    #: Which ways to log in it has, the preferred one first.
    flows: tuple[str, ...]
    authorize_url: str = ""
    token_url: str = ""
    device_url: str = ""
    #: ``openai_device`` only: where it is asked whether the person has entered the code, and where they do.
    device_token_url: str = ""
    verification_url: str = ""
    revoke_url: str = ""
    client_id: str = ""
    client_secret: str = attrs.field(default="", repr=False)
    #: How the client secret is sent: body or basic.
    client_auth: str = "body"
    #: Whether the authorization code flow works with a client secret only.
    needs_secret: bool = False
    scopes: tuple[str, ...] = ()
    pkce: str = S256
    redirect_mode: str = GATEWAY_CALLBACK
    #: Where the browser is sent in the two modes that paste.
    redirect_uri: str = ""
    extra_authorize_params: dict[str, str] = attrs.field(factory=dict)
    bodies: Bodies = attrs.field(factory=Bodies)
    #: What ``iss`` must be where the provider sends it, and whether it must (RFC 9207).
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
        """Whether people can log in at it: it is enabled, and we are somebody there."""
        return self.enabled and bool(self.client_id) and bool(self.usable_flows)

    @property
    def usable_flows(self) -> tuple[str, ...]:
        return tuple(flow for flow in self.flows if flow != PKCE or self.client_secret or not self.needs_secret)

    @property
    def pastes(self) -> bool:
        """Whether the browser ends at a place from which the person brings the code."""
        return self.redirect_mode in (LOOPBACK_PASTE, PROVIDER_PAGE_PASTE)

    @property
    def secrets(self) -> tuple[str, ...]:
        return (self.client_secret,) if self.client_secret else ()
