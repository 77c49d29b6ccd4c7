"""Counting what a document holds costs about the same whatever its shape."""

import time

import pytest

from gateway.wire.census import Census

DEPTH = 128


def seconds(raw: bytes) -> float:
    """Of this process's own time, at best."""
    best = float("inf")
    for _ in range(5):
        start = time.process_time()
        Census(raw).is_deeper_than(DEPTH)
        best = min(best, time.process_time() - start)
    return best


@pytest.mark.parametrize("pile", [DEPTH, 100_000])
def test_depth_is_told_in_one_pass_however_deep_a_document_is(pile: int) -> None:
    wide = b"[%b]" % b",".join([b"[]"] * 99_999)
    piles = b"[%b]" % b",".join([b"[" * pile + b"]" * pile] * (100_000 // pile))
    assert seconds(piles) < 8 * seconds(wide)


@pytest.mark.parametrize(
    ("raw", "is_deeper"),
    [
        (b"[" * DEPTH + b"]" * DEPTH, False),
        (b"[" * (DEPTH + 1) + b"]" * (DEPTH + 1), True),
        (b'[{"a":' * (DEPTH // 2) + b"1" + b"}]" * (DEPTH // 2), False),
        (b'[{"a":' * (DEPTH // 2) + b"[]" + b"}]" * (DEPTH // 2), True),
        (b"[" + b"[],{}," * 1000 + b"0]", False),
        (b'["' + b"[" * 1000 + b'"]', False),
        (b'["\\"' + b"[" * 1000 + b'"]', False),
        (b"", False),
    ],
)
def test_depth_counts_lists_and_objects_in_one_another(raw: bytes, is_deeper: bool) -> None:
    assert Census(raw).is_deeper_than(DEPTH) == is_deeper
