"""A request's path as it may be told, logged and kept."""

import re

from aiohttp import web

_LOGIN_PAGE = re.compile(r"(/oauth/login/)[^/]+")


def shown_path(request: web.BaseRequest) -> str:
    """As it was sent, without the query; but that of a login's page has a ticket in it, which opens the page."""
    return _LOGIN_PAGE.sub(r"\1***", request.rel_url.raw_path)
