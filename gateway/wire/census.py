"""How much a JSON document holds, counted before any value of it is made.

What a document of some megabytes becomes in Python can be fifty times as large, and a loop over it takes seconds. So
whoever reads what a stranger wrote counts first, with nothing but what runs at the speed of C over its bytes. What is
no JSON may be counted wrongly: whoever reads it then refuses it.
"""

from functools import cached_property
from itertools import accumulate

#: One deeper, or one less deep, as signed bytes.
_AS_STEPS = bytes.maketrans(b"[{]}", b"\1\1\xff\xff")
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


class Census:
    """What is in one document."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw

    def has_more_than(self, values: int) -> bool:
        """Whether it may have more than so many values: texts, numbers and words, and lists and objects themselves."""
        raw = self._raw
        if len(raw) <= values:
            return False
        if _marks(raw) < values:
            return False
        # A document may be one text that is full of commas. Each text has two quotes, and each member has a name.
        return self._unescaped.count(b'"') > 4 * (values + 1) or _marks(self._bare) >= values

    def is_deeper_than(self, depth: int) -> bool:
        """Whether more lists and objects than so many stand in one another."""
        if self._raw.count(b"[") + self._raw.count(b"{") <= depth:
            return False
        steps = memoryview(self._bare.translate(_AS_STEPS, _NO_BRACKETS)).cast("b")
        return max(accumulate(steps), default=0) > depth

    @property
    def members(self) -> int:
        """How many members all of its objects have, those that come twice counted twice."""
        return self._bare.count(b":")

    @cached_property
    def _unescaped(self) -> bytes:
        """Without escapes that hold a quote, or could be taken for the beginning of one."""
        if b"\\" not in self._raw:
            return self._raw
        return self._raw.replace(b"\\\\", b"").replace(b'\\"', b"")

    @cached_property
    def _bare(self) -> bytes:
        """Without its texts."""
        return b"".join(self._unescaped.split(b'"')[::2])


def _marks(raw: bytes) -> int:
    """What stands before each value but the first, and at the beginning of each list and object."""
    return raw.count(b",") + raw.count(b"[") + raw.count(b"{")
