"""A call of each route, by somebody who may or may not make it."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from aiohttp import hdrs

from gateway.identity.roles import Role
from gateway.web.routes import ENDPOINTS, Endpoint
from tests.world import Answer, Gateway

#: A value of each path parameter that exists nowhere.
NOWHERE = {
    "session_id": "ses_nowhere",
    "turn_id": "trn_nowhere",
    "agent_id": "nowhere",
    "permission_id": "prm_nowhere",
    "user_id": "nobody",
    "message_id": "1",
    "number": "0",
    "tail": "nowhere",
}
#: Bodies without which a call is refused for its form; others are sent an empty object.
BODIES: dict[tuple[str, str], Any] = {
    ("PATCH", "/session/{session_id}"): {"title": "taken"},
    ("POST", "/session/{session_id}/prompt"): {"prompt": "taken"},
    ("POST", "/permission/{permission_id}"): {"granted": True},
    ("PUT", "/members/{user_id}"): {"role": "viewer"},
}
#: What a role that is smaller may do to what is its own; the calls here are about somebody else's.
OF_OTHERS = {"DELETE /api/projects/{project_id}/members/{user_id}": Role.ADMIN}
WITH_PROJECT = [endpoint for endpoint in ENDPOINTS if "{project_id}" in endpoint.path and not endpoint.is_public]
OTHERS = [endpoint for endpoint in ENDPOINTS if "{project_id}" not in endpoint.path and not endpoint.is_public]


def described(endpoint: Endpoint) -> str:
    return f"{endpoint.method} {endpoint.path}"


def methods(endpoint: Endpoint) -> list[str]:
    match endpoint.method:
        case hdrs.METH_ANY:
            return ["GET", "POST", "PUT", "DELETE", "HEAD"]
        case hdrs.METH_GET if not endpoint.is_stream:
            return ["GET", "HEAD"]
        case method:
            return [method]


def path_of(endpoint: Endpoint, **ids: str) -> str:
    def value(match: re.Match[str]) -> str:
        name = match[1]
        if name not in ids and name not in NOWHERE:
            pytest.fail(
                f"{described(endpoint)}: what is {{{name}}}? Add it to NOWHERE, and to OTHERS_IDS if it is an id"
            )
        return ids.get(name) or NOWHERE[name]

    return re.sub(r"\{(\w+)(?::[^}]*)?\}", value, endpoint.path)


def body_of(endpoint: Endpoint, method: str) -> Any:
    if method in ("GET", "HEAD", "DELETE"):
        return None
    below = re.sub(r"^/api/projects/\{project_id\}(/acp)?", "", endpoint.path)
    return BODIES.get((method, below), {})


async def call(gateway: Gateway, endpoint: Endpoint, method: str, path: str) -> Answer:
    """The call's answer; of a stream the head alone."""
    if endpoint.is_stream:
        async with gateway.http.get(gateway.url + path, headers=gateway.headers) as response:
            body = b"" if response.status == 200 else await response.read()
            return Answer(status=response.status, headers=response.headers, body=body)
    return await gateway.call(method, path, body_of(endpoint, method))


def code(answer: Answer) -> str | None:
    """The gateway's own code; None of a container's answer, of a HEAD's and of one that went well."""
    is_problem = answer.headers.get("Content-Type") == "application/problem+json"
    return answer.json["code"] if is_problem and answer.body else None


def tries(endpoints: list[Endpoint]) -> Iterator[tuple[Endpoint, str]]:
    """Each endpoint by each of its methods; what takes the project away comes last."""
    last = [endpoint for endpoint in endpoints if endpoint.method == "DELETE" and endpoint.path.endswith("_id}")]
    for endpoint in sorted(endpoints, key=lambda one: one in last and one.path.count("{") == 1):
        for method in methods(endpoint):
            yield endpoint, method
