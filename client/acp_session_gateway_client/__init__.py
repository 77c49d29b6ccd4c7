"""A client of the ACP gateway: calls that are sent again where that is safe, and event streams that miss nothing."""

from acp_session_gateway_client.client import Client, Events, Project
from acp_session_gateway_client.errors import ClientError, EventsMissing, InvalidArgument, Refused, Unreachable
from acp_session_gateway_client.events import Cursor, StreamEvent

__all__ = [
    "Client",
    "ClientError",
    "Cursor",
    "Events",
    "EventsMissing",
    "InvalidArgument",
    "Project",
    "Refused",
    "StreamEvent",
    "Unreachable",
]
__version__ = "0.1.0"
