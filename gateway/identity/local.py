"""``local``: whoever uses this machine is its one user. It listens on loopback only, so that nobody else can ask."""

from gateway.config.schema import is_loopback
from gateway.identity.caller import LOCAL_USER, Caller, Presented

_LOCAL = Caller(user_id=LOCAL_USER, mode="local")


class LocalMode:
    """Identifies everybody, which is why it comes after all others."""

    name = "local"
    wants = "a request from this machine, to one of its own names"

    async def identify(self, presented: Presented) -> Caller | None:
        # By another name, or from elsewhere, somebody is forwarding others' requests.
        from_here = presented.peer is None or is_loopback(presented.peer)
        return _LOCAL if from_here and presented.to_loopback else None
