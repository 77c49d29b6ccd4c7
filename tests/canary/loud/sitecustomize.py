"""Python runs this first in each process of the system: all packages log at debug there, not the gateway alone."""

import logging
from typing import Any

_configure = logging.basicConfig


def _configure_loudly(**options: Any) -> None:
    _configure(**{**options, "level": logging.DEBUG})


logging.basicConfig = _configure_loudly  # type: ignore[assignment]  # it takes what the one before takes
