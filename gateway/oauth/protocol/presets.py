"""Known providers. No client ids are built in; operators have their own.

Presets whose owners forbid logins by other programs are disabled, and say why. An operator with permission can enable
them.
"""

from collections.abc import Mapping
from types import MappingProxyType

from gateway.oauth.protocol.provider import (
    DEVICE,
    GITHUB,
    JSON,
    LOOPBACK_PASTE,
    OPENAI_DEVICE,
    PKCE,
    PROVIDER_PAGE_PASTE,
    Bodies,
    Expiry,
    Provider,
)

#: The base of an operator's own provider.
GENERIC = "oidc"

_GITHUB = Provider(
    id="github",
    name="GitHub",
    flows=(DEVICE, PKCE),
    authorize_url="https://github.com/login/oauth/authorize",
    token_url="https://github.com/login/oauth/access_token",
    device_url="https://github.com/login/device/code",
    revoke_url="https://api.github.com/applications/{client_id}/token",
    needs_secret=True,
    scopes=("read:user",),
    bodies=Bodies(revoke=GITHUB),
    agents=("copilot", "opencode"),
    policy_note=(
        "GitHub promises that Copilot CLI takes fine-grained tokens and those of its own apps; whether it takes the "
        "tokens of an OAuth app of yours is to be tried."
    ),
)
_OPENAI = Provider(
    id="openai",
    name="OpenAI",
    flows=(PKCE, OPENAI_DEVICE),
    authorize_url="https://auth.openai.com/oauth/authorize",
    token_url="https://auth.openai.com/oauth/token",
    device_url="https://auth.openai.com/api/accounts/deviceauth/usercode",
    device_token_url="https://auth.openai.com/api/accounts/deviceauth/token",
    verification_url="https://auth.openai.com/codex/device",
    revoke_url="https://auth.openai.com/oauth/revoke",
    issuer="https://auth.openai.com",
    scopes=("openid", "profile", "email", "offline_access"),
    redirect_mode=LOOPBACK_PASTE,
    redirect_uri="http://localhost:1455/auth/callback",
    extra_authorize_params={"id_token_add_organizations": "true", "codex_cli_simplified_flow": "true"},
    bodies=Bodies(refresh=JSON, revoke=JSON),
    expiry=Expiry(from_jwt_exp=True),
    agents=("codex", "opencode"),
    policy_note="OpenAI documents no such login for other programs, and recommends API keys for automation.",
)
_GOOGLE = Provider(
    id="google",
    name="Google",
    flows=(PKCE,),
    authorize_url="https://accounts.google.com/o/oauth2/v2/auth",
    token_url="https://oauth2.googleapis.com/token",
    revoke_url="https://oauth2.googleapis.com/revoke",
    issuer="https://accounts.google.com",
    scopes=(
        "https://www.googleapis.com/auth/cloud-platform",
        "https://www.googleapis.com/auth/userinfo.email",
        "https://www.googleapis.com/auth/userinfo.profile",
    ),
    extra_authorize_params={"access_type": "offline", "prompt": "consent"},
    agents=("gemini",),
    enabled=False,
    policy_note=(
        "Google's terms for Gemini CLI call it a violation when other software uses its login, and accounts may be "
        "suspended for it. Use an API key of Google AI Studio, or Vertex AI."
    ),
)
_ANTHROPIC = Provider(
    id="anthropic",
    name="Anthropic",
    flows=(PKCE,),
    authorize_url="https://claude.com/cai/oauth/authorize",
    token_url="https://platform.claude.com/v1/oauth/token",
    scopes=("user:profile", "user:inference"),
    redirect_mode=PROVIDER_PAGE_PASTE,
    redirect_uri="https://platform.claude.com/oauth/code/callback",
    extra_authorize_params={"code": "true"},
    bodies=Bodies(exchange=JSON, refresh=JSON, send_state=True, scope_on_refresh=True),
    agents=("claude-code",),
    enabled=False,
    policy_note=(
        "Anthropic allows the login with Claude accounts to Claude Code and Claude.ai alone; other developers may not "
        "offer it. Use an API key, or a token that a person makes with `claude setup-token` and pastes."
    ),
)
_OIDC = Provider(
    id=GENERIC,
    name="OpenID Connect",
    flows=(PKCE,),
    scopes=("openid", "offline_access"),
    # OpenID Connect Core 11: otherwise offline_access is ignored.
    extra_authorize_params={"prompt": "consent"},
    discover=True,
)

PRESETS: Mapping[str, Provider] = MappingProxyType(
    {preset.id: preset for preset in (_GITHUB, _OPENAI, _GOOGLE, _ANTHROPIC, _OIDC)}
)
