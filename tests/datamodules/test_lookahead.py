from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from biote.datamodules import lookahead
from biote.datamodules.lookahead import choose, choose_all

LOOK_AHEAD = 8


@pytest.fixture(autouse=True, scope="module")
def _short_sight() -> object:
    """So short a look ahead that examples reach beyond it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lookahead, "LOOK_AHEAD", LOOK_AHEAD)
        yield


def by_hand(lengths: list[int], capacity: int) -> list[int]:
    """The rule in plain words: in order as long as they fit, then the longest that fits."""
    chosen: list[int] = []
    for place, length in enumerate(lengths):
        if length > capacity:
            break
        chosen.append(place)
        capacity -= length
    behind = range(len(chosen), min(len(chosen) + LOOK_AHEAD, len(lengths)))
    while fitting := [p for p in behind if p not in chosen and lengths[p] <= capacity]:
        best = max(fitting, key=lambda place: (lengths[place], -place))
        chosen.append(best)
        capacity -= lengths[best]
    return sorted(chosen)


@given(lengths=st.lists(st.integers(2, 40), max_size=40), capacity=st.integers(1, 120))
def test_a_part_is_filled_by_the_longest_windows_that_fit(
    lengths: list[int], capacity: int
) -> None:
    assert choose(np.array(lengths, np.int64), capacity).tolist() == by_hand(lengths, capacity)


@given(lengths=st.lists(st.integers(2, 40), max_size=60), capacity=st.integers(40, 120))
def test_every_window_is_in_one_part_no_later_than_in_order(
    lengths: list[int], capacity: int
) -> None:
    parts = choose_all(np.array(lengths, np.int64), capacity)
    assert sorted(place for part in parts for place in part.tolist()) == list(range(len(lengths)))
    assert all(sum(lengths[place] for place in part) <= capacity for part in parts)
    in_order, left = [-1], 0
    for length in lengths:
        fits = length <= left
        in_order.append(in_order[-1] + (not fits))
        left = (left if fits else capacity) - length
    waiting = set(range(len(lengths)))
    for number, part in enumerate(parts):
        assert part[0] == min(waiting)
        assert all(number <= in_order[1 + place] for place in part)
        waiting -= set(part.tolist())


def test_equal_windows_are_taken_in_order() -> None:
    assert choose(np.array([9, 9, 2, 3, 2, 2, 3]), 14).tolist() == [0, 2, 3]
