"""Providers and answers that the tests of the core share."""

import json
from base64 import urlsafe_b64encode
from datetime import UTC, datetime
from typing import Any

from gateway.oauth.protocol.provider import Provider
from gateway.oauth.protocol.replies import Reply

NOW = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
PROVIDER = Provider(
    id="example",
    name="Example",
    flows=("pkce", "device"),
    authorize_url="https://id.example/authorize",
    token_url="https://id.example/token",
    device_url="https://id.example/device",
    revoke_url="https://id.example/revoke",
    client_id="client-1",
    scopes=("read", "write"),
    agents=("demo",),
)


def reply(body: Any, status: int = 200, **members: Any) -> Reply:
    """An answer; what is no bytes is sent as JSON."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    kind = "text/html" if raw.lstrip().startswith(b"<") else "application/json"
    return Reply(status=status, body=raw, **{"content_type": kind} | members)


def jwt(**claims: Any) -> str:
    parts = ({"alg": "none"}, claims)
    return ".".join(urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts) + ".c2ln"
