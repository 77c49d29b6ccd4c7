"""When credentials are renewed: before they expire, spread over time."""

from datetime import datetime, timedelta
from hashlib import blake2b
from random import uniform

from gateway.credentials.store import AgentAuthToken

#: A newer credential is not renewed, even if it has already expired on arrival.
LEAST_AGE = timedelta(seconds=5)
#: The share of a lifetime that is left when a credential is renewed.
SHARE, JITTER = 0.1, 0.25
MIN_BACKOFF, MAX_BACKOFF = 5.0, 300.0


def due_at(token: AgentAuthToken, *, skew: float) -> datetime | None:
    """When it is to be renewed; None: never. The time is different for each token and the same in all gateways."""
    if token.expires_at is None:
        return None
    lifetime = max(token.expires_at - token.updated_at, timedelta())
    lead = min(max(timedelta(seconds=skew), lifetime * SHARE), lifetime / 2)
    return max(token.expires_at - lead * (1 + JITTER * _spread(token)), token.updated_at + LEAST_AGE)


def backoff(attempts: int, retry_after: float | None) -> float:
    """Seconds until the next attempt after a provider has not answered."""
    wait = min(MIN_BACKOFF * 2.0 ** min(attempts, 10), MAX_BACKOFF) * uniform(0.8, 1.2)
    return max(wait, retry_after or 0.0)


def _spread(token: AgentAuthToken) -> float:
    """From 0 to 1, the same in all gateways."""
    word = f"{token.user_id}\0{token.agent_id}\0{token.version}".encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(word, digest_size=4).digest()) / 2**32
