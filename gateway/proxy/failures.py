"""Failures of an upstream as our errors, with a sentence that names it."""

import errno

import aiohttp
from aiohttp.http import HttpProcessingError

from gateway.errors import UpstreamError, UpstreamRefused, UpstreamTimeout, UpstreamUnreachable
from gateway.proxy.upstream import Upstream


def as_upstream_error(exc: Exception, upstream: Upstream) -> UpstreamError:
    """``unsent``: nothing of the request has been sent."""
    error = _told(exc, upstream)
    error.unsent = isinstance(exc, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError)
    return error


def _told(exc: Exception, upstream: Upstream) -> UpstreamError:
    match exc:
        case aiohttp.ConnectionTimeoutError():
            return UpstreamTimeout(f"{upstream} did not accept a connection in time.")
        case TimeoutError():
            return UpstreamTimeout(f"{upstream} did not answer in time.")
        case aiohttp.ClientConnectorDNSError():
            return UpstreamUnreachable(f"The name {upstream.host} cannot be resolved.")
        case aiohttp.ClientSSLError() | aiohttp.ClientConnectorCertificateError():
            return UpstreamUnreachable(f"The TLS handshake with {upstream} failed.")
        case aiohttp.ClientConnectorError() if exc.os_error.errno == errno.ECONNREFUSED:
            return UpstreamRefused(f"{upstream} refused the connection.")
        case aiohttp.ClientConnectorError():
            return UpstreamUnreachable(f"{upstream} cannot be reached: {exc.os_error.strerror or exc.os_error}.")
        case HttpProcessingError():
            return UpstreamUnreachable(f"{upstream} answered with something that is not HTTP.")
        case _:
            return UpstreamUnreachable(f"{upstream} dropped the connection before its answer was complete.")
