from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from biote.datamodules.cursor import Cursor

counts = st.integers(0, 2**62)


@given(
    numbers=st.tuples(counts, counts, counts),
    corpora=st.lists(counts, min_size=1, max_size=4),
    pending=st.lists(st.tuples(st.integers(0, 3), counts), max_size=5),
)
def test_plain_numbers_give_the_cursor_back(
    numbers: tuple[int, int, int], corpora: list[int], pending: list[tuple[int, int]]
) -> None:
    flat = tuple(number for window in pending for number in window)
    cursor = Cursor(*numbers, tuple(corpora), flat)
    assert Cursor.from_flat(cursor.flat(), corpora=len(corpora)) == cursor


def test_without_windows_passed_over_there_is_nothing_behind_the_corpora() -> None:
    # What checkpoints of runs in order hold.
    cursor = Cursor.from_flat([7, 900, 30, 24, 6], corpora=2)
    assert cursor == Cursor(step=7, tokens=900, windows=30, corpora=(24, 6), pending=())
    assert cursor.flat() == (7, 900, 30, 24, 6)
