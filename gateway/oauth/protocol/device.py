"""Polling for a device login as in RFC 8628 3.5; the caller has the clock."""

from datetime import datetime, timedelta

import attrs

from gateway.oauth.protocol.outcomes import CodeGranted, Granted, Malformed, Refused, Unavailable, Waiting

#: Seconds that slow_down adds to the interval.
SLOW_DOWN = 5.0
MAX_BACKOFF = 60.0


@attrs.frozen(kw_only=True)
class Polling:
    """A waiting login: its interval, its expiry, and the number of polls in a row without an answer."""

    interval: float
    next_at: datetime
    expires_at: datetime
    failures: int = 0

    @classmethod
    def begun(cls, *, interval: float, expires_in: float, now: datetime) -> "Polling":
        wait = timedelta(seconds=interval)
        return cls(interval=interval, next_at=now + wait, expires_at=now + timedelta(seconds=expires_in))

    def after(
        self, answer: Granted | CodeGranted | Waiting | Refused | Unavailable | Malformed, now: datetime
    ) -> "Polling | Granted | CodeGranted | Refused":
        """What an outcome at ``now`` leads to: another poll, or the end."""
        match answer:
            case Granted() | CodeGranted() | Refused():
                return answer
            case Waiting():
                interval = self._slower(answer)
                waiting = attrs.evolve(self, interval=interval, failures=0)
                return waiting._asked_again(interval, now)
            case _:
                failures = self.failures + 1
                wait = max(self.interval, min(self.interval * 2.0**failures, MAX_BACKOFF))
                if isinstance(answer, Unavailable) and answer.retry_after:
                    wait = max(wait, answer.retry_after)
                return attrs.evolve(self, failures=failures)._asked_again(wait, now)

    def _slower(self, answer: Waiting) -> float:
        if not answer.slow_down:
            return self.interval
        # A new interval of the provider is a minimum.
        return max(self.interval + SLOW_DOWN, answer.interval or 0.0)

    def _asked_again(self, wait: float, now: datetime) -> "Polling | Refused":
        next_at = now + timedelta(seconds=wait)
        if next_at >= self.expires_at:
            return expired()
        return attrs.evolve(self, next_at=next_at)


def expired() -> Refused:
    return Refused(error="expired_token")
