"""A dictionary that never has more entries than it may."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.bounded import Bounded


@given(st.integers(1, 5), st.lists(st.integers(0, 9)))
def test_it_has_what_was_set_last(most: int, keys: list[int]) -> None:
    bounded: Bounded[int, int] = Bounded(most)
    for place, key in enumerate(keys):
        bounded[key] = place
    newest = list(dict.fromkeys(reversed(keys)))[:most]
    assert list(bounded) == newest[::-1]
    assert all(keys[place] == key for key, place in bounded.items())
