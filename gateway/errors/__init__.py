"""Every failure is one class of this tree, except what one room alone raises for other rooms to catch.

A class's docstring is the sentence that a caller reads, ``status`` the HTTP status, ``code`` the stable word for
programs. Only ``web.middleware.errors`` turns one into an answer (RFC 9457). A module has the classes of one subject,
and below them, in capitals, groups of those that come together, for the route table.

    GatewayError
    ├── BadRequest                        400  what the caller sent is wrong
    ├── Unauthenticated                   401
    ├── AuthRequired                      401  the agent needs an account
    ├── Forbidden                         403
    ├── NotFound                          404
    ├── Conflict                          409
    ├── TooManyRequests                   429
    ├── LoginError                        400  what the person who logs in can do something about
    ├── ProviderError                     502  the provider's side
    ├── UpstreamError                     502  the container's side
    ├── DatabaseUnavailable, Vault…       503
    └── ConfigError, StartError, …        on the command line
"""

# ruff: noqa: F403  (all of them are this package's, whichever module they stand in)
from gateway.errors.access import *
from gateway.errors.base import *
from gateway.errors.containers import *
from gateway.errors.credentials import *
from gateway.errors.logins import *
from gateway.errors.projects import *
from gateway.errors.requests import *
from gateway.errors.sessions import *
from gateway.errors.start import *
from gateway.errors.storage import *
