"""The credential that an agent runs with."""

from typing import Final

from gateway.errors.access import Forbidden
from gateway.errors.base import GatewayError
from gateway.errors.requests import BadRequest, Conflict


class AuthRequired(GatewayError):
    """The agent needs an account that you have not connected."""

    status, code = 401, "auth_required"


class ReauthRequired(AuthRequired):
    """The account that you have connected can be used no more; connect it again."""


class NotYourCredential(Forbidden):
    """The session runs with another person's credential, so only that person may prompt it."""

    code = "not_your_credential"


class AgentInUse(Conflict):
    """The agent's one process in this container runs with another person's credential, or with none."""

    code = "agent_in_use"


class CredentialUnusable(Conflict):
    """Your credential for the agent is not of a kind that it can be given here."""

    code = "credential_unusable"


class CredentialRefused(BadRequest):
    """This is not a credential that the agent can use."""

    code = "credential_refused"


class ContainerMoved(Conflict):
    """The project is at another container than the one that you last had your credential used at."""

    code = "container_moved"


#: Where an agent is given its caller's credential.
CREDENTIAL: Final = (AuthRequired, AgentInUse, ContainerMoved, CredentialUnusable)
