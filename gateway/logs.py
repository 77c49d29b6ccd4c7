"""Log lines for people: time, level, room, event, and its fields as ``name=value``. Ids only, never a secret."""

import logging
import sys
from datetime import UTC, datetime

from gateway.wire.times import timestamp

_STANDARD = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class _Line(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        at = timestamp(datetime.fromtimestamp(record.created, UTC))
        fields = "".join(f" {name}={_quoted(value)}" for name, value in vars(record).items() if name not in _STANDARD)
        line = f"{at} {record.levelname.lower():7} {record.name}: {record.getMessage()}{fields}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


def configure(level: str) -> None:
    """Log to standard error: the gateway's own rooms from ``level`` on, what it is built on from warning on.

    At debug some packages would log what passes through them, and that is users' data.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Line())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("gateway").setLevel(level.upper())


def _quoted(value: object) -> str:
    text = str(value)
    return repr(text) if not text or any(character.isspace() or character == '"' for character in text) else text
