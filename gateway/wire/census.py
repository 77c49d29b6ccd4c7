"""How much a JSON document holds, counted on its bytes before anything is parsed.

A few megabytes can become fifty times as much in Python, and a loop over them takes seconds. So foreign documents are
counted first, with functions that run at the speed of C. Invalid JSON may be counted wrongly; the parser then refuses
it.
"""

from functools import cached_property
from itertools import accumulate

#: The change of depth at each bracket, as signed bytes.
_AS_STEPS = bytes.maketrans(b"[{]}", b"\1\1\xff\xff")
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


class Census:
    """The counts of one document."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw

    def has_more_than(self, values: int) -> bool:
        """Whether it has more values than this: strings, numbers, literals, lists and objects."""
        raw = self._raw
        if len(raw) <= values:
            return False
        if _marks(raw) < values:
            return False
        # A document may be one string full of commas. Each string has two quotes, and each member has a name.
        return self._unescaped.count(b'"') > 4 * (values + 1) or _marks(self._bare) >= values

    def is_deeper_than(self, depth: int) -> bool:
        """Whether lists and objects are nested deeper than this."""
        if self._raw.count(b"[") + self._raw.count(b"{") <= depth:
            return False
        steps = memoryview(self._bare.translate(_AS_STEPS, _NO_BRACKETS)).cast("b")
        return max(accumulate(steps), default=0) > depth

    @property
    def members(self) -> int:
        """How many members all of its objects have; repeated names count each time."""
        return self._bare.count(b":")

    @cached_property
    def _unescaped(self) -> bytes:
        """Without escapes that contain a quote or could be taken for the beginning of one."""
        if b"\\" not in self._raw:
            return self._raw
        return self._raw.replace(b"\\\\", b"").replace(b'\\"', b"")

    @cached_property
    def _bare(self) -> bytes:
        """Without its strings."""
        return b"".join(self._unescaped.split(b'"')[::2])


def _marks(raw: bytes) -> int:
    """The bytes before each value but the first, and at the beginning of each list and object."""
    return raw.count(b",") + raw.count(b"[") + raw.count(b"{")
