"""``local``: every program on this machine is the one user. The gateway listens on loopback only then."""

from gateway.config.schema import is_loopback
from gateway.identity.caller import LOCAL_USER, Caller, Presented

_LOCAL = Caller(user_id=LOCAL_USER, mode="local")


class LocalMode:
    """Identifies everybody, so it comes after all other modes."""

    name = "local"
    wants = "a request from this machine, to one of its own names"

    async def identify(self, presented: Presented) -> Caller | None:
        # Any other name or address means that a proxy forwards others' requests.
        from_here = presented.peer is None or is_loopback(presented.peer)
        return _LOCAL if from_here and presented.to_loopback else None
