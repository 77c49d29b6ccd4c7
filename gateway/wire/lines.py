"""Lines of files as git and editors count them: a line feed ends one, and nothing else does."""

import difflib
import io
import re
from collections.abc import Iterator
from itertools import islice

_BARE_LINE_FEED = re.compile(r"(?<!\r)\n")
#: A carriage return that people can see.
_RETURN = "\u240d"
_UNENDED = "\\ No newline at end of file"


def lines_of(text: str) -> Iterator[str]:
    """Each with its end."""
    return io.StringIO(text, newline="\n")


def changes(old: str, new: str, *, context: int = 3) -> Iterator[str]:
    """What a unified diff has below its two file names, line by line.

    Ends of lines are shown where they differ: a carriage return as a sign, and a missing line feed at the end as git
    shows it. Otherwise they are not, as many agents tell only the part of a file that changes.
    """
    if not (_BARE_LINE_FEED.search(old) or _BARE_LINE_FEED.search(new)):
        old, new = old.replace("\r\n", "\n"), new.replace("\r\n", "\n")
    if not (old and new) or old.endswith("\n") == new.endswith("\n"):
        old, new = _ended(old), _ended(new)
    before, after = (list(lines_of(text.replace("\r", _RETURN))) for text in (old, new))
    for line in islice(difflib.unified_diff(before, after, n=context), 2, None):
        yield line.removesuffix("\n")
        if not line.endswith("\n"):
            yield _UNENDED


def _ended(text: str) -> str:
    return text if not text or text.endswith("\n") else f"{text}\n"
