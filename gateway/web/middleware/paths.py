"""A request's path for logs, errors and the audit."""

import re

from aiohttp import web

_LOGIN_PAGE = re.compile(r"(/oauth/login/)[^/]+")


def shown_path(request: web.BaseRequest) -> str:
    """The raw path without the query, and without the secret ticket of a login's page."""
    return _LOGIN_PAGE.sub(r"\1***", request.rel_url.raw_path)
