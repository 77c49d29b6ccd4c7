"""A gateway whose clock jumps: by an hour ahead at SIGUSR1, an hour back at SIGUSR2.

As with a real clock that is set, ``time.time`` and ``datetime.now`` jump and the monotonic clock does not. (Debian's
faketime would do the same to the C library's calls; nothing here reads the clock in C.)
"""

import datetime
import signal
import time

HOUR = 3600.0
_real_time = time.time
_offset = 0.0


def _time() -> float:
    return _real_time() + _offset


class _DateTime(datetime.datetime):
    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> datetime.datetime:  # type: ignore[override]
        return datetime.datetime.fromtimestamp(_time(), tz)


def _jump(by: float) -> None:
    global _offset
    _offset = by


def main() -> None:
    signal.signal(signal.SIGUSR1, lambda *_: _jump(HOUR))
    signal.signal(signal.SIGUSR2, lambda *_: _jump(-HOUR))
    time.time = _time
    _original = datetime.datetime
    datetime.datetime = _DateTime  # type: ignore[misc]
    from gateway.cli.main import main as gateway_main

    gateway_main()


if __name__ == "__main__":
    main()
