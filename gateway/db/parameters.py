"""What libpq is told of a connection: the URL, and defaults for what it does not say."""

import re

import psycopg2
import psycopg2.extensions

from gateway.db.errors import MALFORMED_URL
from gateway.errors import ConfigError

#: A machine that vanished is noticed after three seconds, whether something was sent to it or only awaited.
#: On Linux ``tcp_user_timeout`` bounds both, and the count of keepalives is for other systems.
_DEFAULTS = {
    "keepalives_idle": "2",
    "keepalives_interval": "1",
    "keepalives_count": "2",
    "tcp_user_timeout": "3000",
}
#: ``-c name=value``, ``-cname=value`` and ``--name=value``.
_OPTION = re.compile(r"(?:^|\s)(?:-c\s*|--)([A-Za-z_][\w.-]*)=")


def parameters(url: str, *, application_name: str) -> dict[str, str]:
    """libpq's parameters by name; ``ConfigError`` if the URL is none. What the URL says wins.

    Several hosts are a primary and its standbys: the one that takes writes is meant.
    """
    try:
        given = psycopg2.extensions.parse_dsn(url)
    except psycopg2.ProgrammingError:
        # The driver's message quotes the URL with its password.
        raise ConfigError(MALFORMED_URL) from None
    found = {**_DEFAULTS, "application_name": application_name, **given}
    if "," in given.get("host", "") + given.get("hostaddr", ""):
        found.setdefault("target_session_attrs", "read-write")
    return found


def settings_in(options: str) -> frozenset[str]:
    """The settings of PostgreSQL that libpq's ``options`` name."""
    return frozenset(name.replace("-", "_").lower() for name in _OPTION.findall(options))
