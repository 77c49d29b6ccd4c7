"""The OpenAPI document: it is one, and nothing that the gateway does is missing from it."""

import inspect
from typing import Any

import pytest
from aiohttp import hdrs
from openapi_spec_validator import validate

from gateway import __version__
from gateway.errors import GatewayError
from gateway.ingest import translate
from gateway.web.apidoc import events as event_schemas
from gateway.web.apidoc.document import TITLES, document, path_of
from gateway.web.apidoc.endpoint import Endpoint
from gateway.web.handlers import files
from gateway.web.routes import ENDPOINTS
from gateway.wire.events import EventData
from tests.everything import all_of
from tests.world import Gateway

DOCUMENT = document(ENDPOINTS, __version__)
#: Never over HTTP: of commands, and between the gateway's own rooms.
INTERNAL = {
    "config_error", "gateway_stopping", "migration_failed", "not_kept", "spool_damaged", "spool_full", "stale_fence",
    "start_error", "token_not_found", "too_many_streams", "usage_error",
}  # fmt: skip
#: What belongs to no line of the table: there is none of that method.
OUTSIDE = {"method_not_allowed"}
OURS = [endpoint for endpoint in ENDPOINTS if not endpoint.is_passed_on]


def name_of(endpoint: Endpoint) -> str:
    return f"{endpoint.method} {endpoint.path}"


def operations() -> list[dict[str, Any]]:
    return [operation for path in DOCUMENT["paths"].values() for operation in path.values()]


def test_it_is_an_openapi_document() -> None:
    validate(DOCUMENT)


async def test_it_is_served_to_anybody_and_not_again_to_who_has_it(gateway: Gateway) -> None:
    answer = await gateway.call("GET", "/openapi.json", headers={"Accept-Encoding": "identity"})
    assert (answer.status, answer.json["openapi"]) == (200, "3.1.1")
    again = await gateway.call("GET", "/openapi.json", headers={"If-None-Match": answer.headers["ETag"]})
    assert (again.status, again.body) == (304, b"")


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=name_of)
def test_each_route_is_in_it(endpoint: Endpoint) -> None:
    method = "get" if endpoint.method == hdrs.METH_ANY else endpoint.method.lower()
    assert method in DOCUMENT["paths"][path_of(endpoint)]


@pytest.mark.parametrize("endpoint", OURS, ids=name_of)
def test_each_route_says_what_it_takes_and_answers(endpoint: Endpoint) -> None:
    where = f"to the line of {name_of(endpoint)} in gateway/web/routes.py"
    assert endpoint.answers or endpoint.errors, (
        f"Add `answers={{status: type}}` {where}; the types of answers are in gateway/web/handlers/shapes.py (or "
        "`Content` for what is no JSON, None for no body). Add `errors=(…)` of its own, `reaches_container=True` where "
        "it asks the container."
    )
    source = inspect.getsource(inspect.unwrap(endpoint.handler))
    assert "read_body(" not in source or endpoint.body is not None, f"Add `body=` {where}: it reads one."
    assert endpoint.handler.__doc__, f"Give the handler a docstring {where}"


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=name_of)
def test_each_route_belongs_to_a_titled_group(endpoint: Endpoint) -> None:
    operation = DOCUMENT["paths"][path_of(endpoint)]
    [group] = next(iter(operation.values()))["tags"]
    assert group in TITLES, f"Add a title for {group!r} to TITLES in gateway/web/apidoc/document.py"


def test_no_two_operations_have_one_name() -> None:
    names = [operation["operationId"] for operation in operations()]
    assert sorted(names) == sorted(set(names))


def test_each_error_that_a_caller_can_meet_is_the_answer_of_some_route() -> None:
    told = {code for operation in operations() for code in codes_of(operation)}
    # Those of the agent host are in its own answers, and in the `failure` of turns.
    ours = [error for error in all_of(GatewayError) if not error.__module__.startswith("gateway.agenthost.")]
    there = {error.code for error in ours} - INTERNAL - OUTSIDE
    missing = sorted(there - told)
    assert not missing, (
        f"No route says that it answers {', '.join(missing)}: add the class to `errors=` of the lines in "
        "gateway/web/routes.py whose handlers can raise it (or to gateway/web/apidoc/problems.py where it comes with "
        "every body, project, …); to INTERNAL here if it never goes over HTTP."
    )
    assert not told - there


def codes_of(operation: dict[str, Any]) -> list[str]:
    problems = [
        response["content"]["application/problem+json"]["schema"]
        for response in operation["responses"].values()
        if "application/problem+json" in response.get("content", {})
    ]
    return [code for problem in problems for code in problem["allOf"][1]["properties"]["code"]["enum"]]


def test_each_type_of_event_is_in_it() -> None:
    own = {kind.type for kind in all_of(EventData) if kind is not EventData}
    mapping = DOCUMENT["components"]["schemas"]["Event"]["discriminator"]["mapping"]
    assert set(mapping) == own | translate.PASSED_ON, (
        "What containers say and the gateway passes on needs a sentence in FROM_CONTAINERS of "
        "gateway/web/apidoc/events.py; what the gateway says is a direct subclass of EventData in "
        "gateway/wire/events.py."
    )
    assert not event_schemas.FROM_CONTAINERS.keys() & own


def test_each_header_that_the_gateway_reads_or_sends_is_in_it() -> None:
    named = {one["name"] for operation in operations() for one in operation["parameters"] if one["in"] == "header"}
    assert named >= {"Idempotency-Key", "Prefer", "Last-Event-ID"}
    sent = {
        header
        for operation in operations()
        for response in operation["responses"].values()
        for header in response.get("headers", {})
    }
    known = set(DOCUMENT["components"]["headers"])
    assert known - sent == {"Allow"}, "of answers that belong to no route"


def test_pages_ask_for_nothing_outside() -> None:
    assert "'unsafe" not in files.POLICY
    assert "http" not in files.POLICY
