"""The envelope of every response, and the shared secret."""

import hmac
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Middleware

from gateway.agenthost.errors import Unauthorized
from gateway.errors import GatewayError
from gateway.wire.codec import dump_foreign_json

logger = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def success(data: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    body = dump_foreign_json({"success": True, "data": data})
    return web.Response(status=status, body=body, content_type="application/json", headers=headers)


def failure(text: str, *, status: int, code: str, data: Any = None) -> web.Response:
    """`code` is stable, for programs; clients of the base contract read only `error`."""
    envelope = {"success": False, "error": text, "code": code}
    if data is not None:
        envelope["data"] = data
    return web.Response(status=status, body=dump_foreign_json(envelope), content_type="application/json")


@web.middleware
async def errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer every failure with an envelope."""
    try:
        return await handler(request)
    except GatewayError as exc:
        answer = failure(str(exc), status=exc.status, code=exc.code, data=exc.members.get("data"))
        answer.headers.update(exc.headers)
        return answer
    except web.HTTPException as exc:
        answer = failure(exc.reason, status=exc.status, code=exc.reason.lower().replace(" ", "_"))
        if "Allow" in exc.headers:
            answer.headers["Allow"] = exc.headers["Allow"]
        return answer
    except ConnectionError:
        # The client has disconnected.
        raise
    except Exception:
        logger.exception("a call failed", extra={"method": request.method, "path": request.path})
        return failure("this is a bug in the agent host; its log has details", status=500, code="internal_error")


def bearer(token: str | None) -> Middleware:
    """Require the shared secret, if there is one, except for `/health`."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        if token is not None and request.path != "/health":
            scheme, _, given = request.headers.get("Authorization", "").partition(" ")
            if scheme.lower() != "bearer" or not hmac.compare_digest(
                given.strip().encode("utf-8", "surrogateescape"), token.encode()
            ):
                raise Unauthorized(headers={"WWW-Authenticate": "Bearer"})
        return await handler(request)

    return middleware
