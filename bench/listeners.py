"""What many readers of event streams got, and the program that reads for them: ``listeners.c``, built when needed."""

import hashlib
import subprocess
from pathlib import Path

import attrs

from bench.processes import cache_directory, program

SOURCE = Path(__file__).with_suffix(".c")


@attrs.frozen(kw_only=True)
class Heard:
    """What all readers got; ``seconds`` from the first event to the last, delays in milliseconds."""

    events: int
    wanted: int
    seconds: float
    p50: float
    p99: float
    slowest: float
    #: What the reading itself took.
    cpu_seconds: float

    @property
    def rate(self) -> float:
        """Events delivered a second, to all readers together."""
        return self.events / self.seconds if self.seconds else 0.0


def listeners() -> Path:
    """The program, compiled unless it is in the cache."""
    digest = hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:16]
    built = cache_directory() / f"listeners-{digest}"
    if not built.exists():
        compiler = program("cc", "install a C compiler; on Debian: apt-get install gcc libc6-dev")
        built.parent.mkdir(parents=True, exist_ok=True)
        unfinished = built.with_suffix(".new")
        subprocess.run([compiler, "-std=gnu11", "-O2", "-o", str(unfinished), str(SOURCE)], check=True)
        unfinished.rename(built)
    return built
