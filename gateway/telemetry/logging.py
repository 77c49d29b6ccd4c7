"""Log lines, as text or JSON: time, level, room, event, fields. Only ids, never a prompt, a secret or a body."""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

from gateway.config.schema import LoggingConfig
from gateway.telemetry.context import present
from gateway.wire.times import timestamp

_STANDARD = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def configure(config: LoggingConfig) -> None:
    """Log to standard error: the gateway's rooms from the level on, libraries from warning on.

    At debug some libraries would log what passes through them: users' data.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if config.format == "json" else _Line())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("gateway").setLevel(config.level.upper())
    logging.getLogger("aiohttp.server").addFilter(_without_bytes)


class _Line(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = "".join(f" {name}={_quoted(value)}" for name, value in _fields(record).items())
        line = f"{_at(record)} {record.levelname.lower():7} {record.name}: {record.getMessage()}{fields}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        # The fixed members come last, so that no field replaces them.
        entry = {
            **_fields(record),
            "time": _at(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str)


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    """The current ids, and the line's own fields."""
    said = {name: value for name, value in vars(record).items() if name not in _STANDARD}
    return {**present(), **said}


def _at(record: logging.LogRecord) -> str:
    return timestamp(datetime.fromtimestamp(record.created, UTC))


def _quoted(value: object) -> str:
    text = str(value)
    return (
        repr(text) if not text or any(not character.isprintable() or character in ' "' for character in text) else text
    )


def _without_bytes(record: logging.LogRecord) -> bool:
    """aiohttp shows a request that it cannot read, query and all, with a traceback: for its sender's mistake."""
    # A command that serves nothing need not import it.
    from aiohttp.http import HttpProcessingError

    exc = record.exc_info[1] if record.exc_info else None
    if isinstance(exc, HttpProcessingError):
        record.levelno, record.levelname = logging.WARNING, "WARNING"
        record.msg, record.args, record.exc_info, record.exc_text = "request not understood", (), None, None
        record.reason = type(exc).__name__
    return True
