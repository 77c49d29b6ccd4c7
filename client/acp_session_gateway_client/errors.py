"""What can go wrong in a call or a stream."""

import json
from collections.abc import Mapping
from typing import Any, Final

import aiohttp

#: What passes: the gateway, its database or the container is away.
_PASSING: Final = frozenset({429, 502, 503, 504})
#: What does not pass by itself, whatever its status.
_LASTING: Final = frozenset({"agent_unavailable", "vault_not_configured", "vault_key_missing", "secret_unreadable"})
#: The code of an answer that is no problem document of the gateway's: something in between has answered in its place.
NO_CODE: Final = "http_error"
#: Seconds; a gateway that asks for a longer pause is asked again all the same.
LONGEST_PAUSE: Final = 30.0


class ClientError(Exception):
    """The base of all that this package raises by itself."""


class InvalidArgument(ClientError, ValueError):
    """A token or a cursor that no gateway can have given out."""


class Refused(ClientError):
    """The gateway has refused this. ``reason`` is the code of its problem document, ``answered`` the HTTP status."""

    def __init__(self, status: int, problem: Mapping[str, Any], *, retry_after: float = 0.0) -> None:
        super().__init__(str(problem.get("detail") or problem.get("title") or f"The gateway answered {status}."))
        self.answered = status
        self.problem = dict(problem)
        code = problem.get("code")
        self.reason = code if isinstance(code, str) else NO_CODE
        #: Seconds that the gateway says to wait before it is asked again.
        self.retry_after = retry_after

    @classmethod
    async def by(cls, response: aiohttp.ClientResponse) -> "Refused":
        after = response.headers.get("Retry-After", "")
        seconds = min(float(after), LONGEST_PAUSE) if after.isascii() and after.isdigit() else 0.0
        return cls(response.status, _problem(await response.read()), retry_after=seconds)

    @property
    def is_passing(self) -> bool:
        """Whether it may go another way a little later."""
        return self.answered in _PASSING and self.reason not in _LASTING


class Unreachable(ClientError):
    """There is no gateway at this address."""


class EventsMissing(ClientError):
    """The stream has a hole that reading it again did not fill."""


def _problem(raw: bytes) -> dict[str, Any]:
    try:
        problem = json.loads(raw)
    except ValueError:
        return {}
    return problem if isinstance(problem, dict) else {}
