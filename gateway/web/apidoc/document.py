"""The OpenAPI 3.1 document, made from the route table: https://spec.openapis.org/oas/v3.1.1."""

import re
from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Any, Final

from aiohttp import hdrs

from gateway.web.apidoc.endpoint import Content, Endpoint, Parameter
from gateway.web.apidoc.events import add_events, add_opencode_events
from gateway.web.apidoc.problems import HEADERS, Error, errors_of
from gateway.web.apidoc.schema import Schema, Schemas, text_of
from gateway.wire.codec import to_camel

INTRODUCTION: Final = """\
Sessions, prompts, permissions and event streams of coding agents that run in projects' containers.

**Errors** are problem documents (RFC 9457): `code` is stable, for programs; `detail` explains, for people. Every
response has an `X-Request-Id`, which is also in the gateway's log.

**Idempotent retries:** a call repeated with the same `Idempotency-Key` is done once and gets the same response.

**Event streams** are server-sent events. Each event has an `id`, its cursor `<epoch>-<seq>`. A client that reconnects
with `Last-Event-ID` gets each later event once, in order, whatever the cursor's age. A `gap` event means that something
is missing. A `reset`, sent to one client, means that its cursor cannot be continued: read the session again, and
continue from the reset's id. A `heartbeat` is not stored; its `id` is the stream's cursor. Streams never answer 429 or
5xx, because browsers would give up. When the gateway is busy, the stream ends at once, with `retry:`.

**Any other path** below `/api/projects/{projectId}/acp` and `/opencode` is forwarded to the container.
"""
TITLES: Final[Mapping[str, str]] = {
    "projects": "Projects and their settings",
    "members": "Members of a project and their roles",
    "audit": "Audit of a project",
    "agents": "Agents in a project's container",
    "sessions": "Sessions, prompts and turns",
    "history": "Messages, snapshots and exports",
    "events": "Event streams",
    "permissions": "Permission requests of agents",
    "description": "This description",
    "auth": "Accounts for agents",
    "logins": "Pages at the end of a login in the browser",
    "sign_in": "Signing a browser in by a link",
    "tickets": "Tickets for browsers' event streams",
    "opencode": "OpenCode's own events",
    "operations": "Health, readiness and metrics",
    "console": "The console",
    "passthrough": "Forwarded to the container",
}
_PASSED_ON: Final = (hdrs.METH_GET, hdrs.METH_POST, hdrs.METH_PUT, hdrs.METH_PATCH, hdrs.METH_DELETE)
_RESPONSE_HEADERS: Final[Mapping[str, tuple[str, Schema]]] = {
    "X-Request-Id": ("The request's id, also in the gateway's log.", {"type": "string"}),
    "Location": ("The path of what was created.", {"type": "string", "format": "uri-reference"}),
    "Preference-Applied": ("`wait=N` if the gateway waited for the turn (RFC 7240).", {"type": "string"}),
    "Retry-After": ("Seconds to wait before the next attempt.", {"type": "string"}),
    "WWW-Authenticate": ("How to authenticate (RFC 6750).", {"type": "string"}),
    "ETag": ("The version of the file.", {"type": "string"}),
    "Content-Disposition": ("The name to save the file under.", {"type": "string"}),
    "Allow": ("The methods that the route allows.", {"type": "string"}),
}
#: Every response has it, pages included.
_ALWAYS: Final = "X-Request-Id"
_PROBLEM: Final[Schema] = {
    "type": "object",
    "description": "What went wrong (RFC 9457). An error may have further members, such as `turnId`.",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string", "description": "The kind of error."},
        "status": {"type": "integer"},
        "code": {"type": "string", "description": "The kind of error, for programs; it does not change."},
        "detail": {"type": "string", "description": "What was wrong with this request."},
        "instance": {"type": "string", "description": "The path of the request."},
        "requestId": {"type": "string"},
    },
    "required": ["type", "title", "status", "code", "detail", "instance", "requestId"],
}


def document(endpoints: Iterable[Endpoint], version: str) -> dict[str, Any]:
    schemas = Schemas()
    schemas.named["Problem"] = dict(_PROBLEM)
    add_events(schemas)
    add_opencode_events(schemas)
    paths: dict[str, Schema] = {}
    for endpoint in endpoints:
        for method in _PASSED_ON if endpoint.method == hdrs.METH_ANY else (endpoint.method,):
            paths.setdefault(path_of(endpoint), {})[method.lower()] = _operation(endpoint, method, schemas)
    return {
        "openapi": "3.1.1",
        "info": {"title": "ACP gateway", "version": version, "description": INTRODUCTION},
        "paths": paths,
        "components": {
            "schemas": dict(sorted(schemas.named.items())),
            "headers": {
                name: {"description": text, "schema": schema} for name, (text, schema) in _RESPONSE_HEADERS.items()
            },
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API token (`local.token` has one), or a JWT.",
                }
            },
        },
        # In the mode "local" no credential is needed.
        "security": [{"bearer": []}, {}],
        "tags": [{"name": tag, "description": TITLES.get(tag, tag)} for tag in dict.fromkeys(map(_tag, endpoints))],
    }


def path_of(endpoint: Endpoint) -> str:
    """The path in OpenAPI's notation."""
    return re.sub(r"\{(\w+)[^}]*\}", lambda match: "{" + to_camel(match[1]) + "}", endpoint.path)


def _tag(endpoint: Endpoint) -> str:
    name = endpoint.handler.__module__.rpartition(".")[2]
    return "logins" if name == "login_pages" else name


def _operation(endpoint: Endpoint, method: str, schemas: Schemas) -> Schema:
    text = text_of(endpoint.handler)
    operation: Schema = {
        "operationId": to_camel(_operation_id(endpoint, method)),
        "tags": [_tag(endpoint)],
        "summary": text.partition("\n\n")[0],
        "parameters": [*_path_parameters(endpoint), *(_parameter(one, schemas) for one in endpoint.parameters)],
    }
    needs = []
    if endpoint.role is not None:
        needs.append(f"Needs the role `{endpoint.role.word}` in the project.")
    if endpoint.of_user is not None:
        needs.append(f"Not for an API token that is limited to projects, or to less than `{endpoint.of_user.word}`.")
    if needs:
        operation["description"] = "\n\n".join((text, *needs))
    if endpoint.is_public:
        operation["security"] = []
    if endpoint.body is not None:
        content = {"application/json": {"schema": schemas.of(endpoint.body, taken=True)}}
        operation["requestBody"] = {"content": content, "required": _is_required(endpoint.body)}
    if endpoint.is_passed_on:
        answer = {"description": "The container's response, unchanged."}
        operation["responses"] = {**_answers(endpoint, schemas), "default": answer}
    else:
        operation["responses"] = {**_answers(endpoint, schemas), **_problems(endpoint)}
    return operation


def _operation_id(endpoint: Endpoint, method: str) -> str:
    if endpoint.operation_id:
        return endpoint.operation_id
    tail = f"_{method.lower()}" + ("_below" if "{tail" in endpoint.path else "")
    name = getattr(endpoint.handler, "__name__", "answer")
    where = endpoint.path.split("/")[4:5] if endpoint.is_passed_on else [_tag(endpoint)]
    return "_".join([*where, name]) + (tail if endpoint.method == hdrs.METH_ANY else "")


def _is_required(body: type) -> bool:
    """Whether an empty body, which means ``{}``, is refused."""
    schemas = Schemas()
    schemas.of(body, taken=True)
    return "required" in schemas.named[body.__name__]


def _path_parameters(endpoint: Endpoint) -> Iterable[Schema]:
    for name in re.findall(r"\{(\w+)", endpoint.path):
        # Any text is valid; an id that does not exist is 404.
        yield {"name": to_camel(name), "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}


def _parameter(parameter: Parameter, schemas: Schemas) -> Schema:
    return {
        "name": parameter.name,
        "in": parameter.place,
        "description": parameter.description,
        "schema": schemas.of(parameter.kind),
    }


def _answers(endpoint: Endpoint, schemas: Schemas) -> dict[str, Schema]:
    return {str(status): _answer(status, kind, schemas) for status, kind in endpoint.answers.items()}


def _answer(status: int, kind: Any, schemas: Schemas) -> Schema:
    if kind is None:
        return {"description": "Done; the response has no body.", "headers": _headers(())}
    if not isinstance(kind, Content):
        text = text_of(kind).partition("\n\n")[0]
        kind = Content(description=text, kind=kind, headers=("Location",) if status == 201 else ())
    schema = schemas.of(kind.kind)
    answer: Schema = {"description": kind.description, "headers": _headers(kind.headers)}
    if kind.media_types:
        answer["content"] = {media_type: {"schema": schema} for media_type in kind.media_types}
    if "text/event-stream" in kind.media_types:
        # OpenAPI 3.2 calls it itemSchema; 3.1 has no keyword for the items of a stream.
        answer["content"]["text/event-stream"]["x-itemSchema"] = {"$ref": f"#/components/schemas/{kind.item}"}
    return answer


def _problems(endpoint: Endpoint) -> dict[str, Schema]:
    found = groupby(errors_of(endpoint), key=lambda error: error.status)
    return {str(status): _problem(list(errors)) for status, errors in found}


def _problem(errors: list[Error]) -> Schema:
    told = {error.code: error.title() for error in errors}
    lines = [f"- `{code}`: {title}" for code, title in told.items()]
    headers = dict.fromkeys(HEADERS[error] for error in errors if error in HEADERS)
    codes = {"properties": {"code": {"enum": list(told)}}}
    schema = {"allOf": [{"$ref": "#/components/schemas/Problem"}, codes]}
    return {
        "description": "\n".join(lines),
        "headers": _headers(headers),
        "content": {"application/problem+json": {"schema": schema}},
    }


def _headers(names: Iterable[str]) -> Schema:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in (_ALWAYS, *names)}
