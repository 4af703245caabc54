"""Windows into parts of a fixed number of tokens, nearly full and nearly in order.

Legend: W windows that wait, in order; C windows that are chosen.

A part takes the windows that wait in order up to the first that does not fit, and fills what is
left with the longest windows that fit, out of those that stand shortly behind. The next part begins
with the window that did not fit, so no window waits longer than it would without packing.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from biote.datamodules.sampler import Int64s

LOOK_AHEAD: Final = 1_024
"""Windows looked through for those that fill a part. Of so many windows with different lengths one
or two nearly always fit to the token: with four times fewer, parts of a few windows keep twice the
padding; with four times more, sorting them and the numbers in a cursor cost more than they save."""


def choose(lengths: npt.NDArray[np.integer[Any]], capacity: int) -> Int64s:
    """Choose the windows of the next part.

    Args:
        lengths: Tokens of the windows that wait, (W,): so many that together they exceed the
            capacity, and `LOOK_AHEAD` more, or all there are.
        capacity: Most tokens of the part.

    Returns:
        Places of the chosen windows, ascending, (C,); the first is 0 where that window fits.
    """
    ends = np.cumsum(lengths)
    count = int(np.searchsorted(ends, capacity, side="right"))
    gap = capacity - (int(ends[count - 1]) if count else 0)
    behind = lengths[count : count + LOOK_AHEAD]
    return np.concatenate([np.arange(count), count + _best_fit(behind, gap)])


def choose_all(lengths: npt.NDArray[np.integer[Any]], capacity: int) -> list[Int64s]:
    """Choose the windows of one part after the other until none is left.

    Args:
        lengths: Tokens of every window, none above the capacity, (W,).
        capacity: Most tokens of a part.

    Returns:
        Places of the windows of every part; together each place once.
    """
    waiting = np.arange(len(lengths))
    parts = []
    while len(waiting):
        chosen = choose(lengths[waiting], capacity)
        parts.append(waiting[chosen])
        waiting = np.delete(waiting, chosen)
    return parts


def _best_fit(lengths: npt.NDArray[np.integer[Any]], gap: int) -> Int64s:
    """Fill a gap: the longest window that fits, of equal ones the first, as long as one fits."""
    fitting = np.flatnonzero(lengths <= gap)
    # Longest first, in which order those that fit one after another stand side by side.
    fitting = fitting[np.argsort(-lengths[fitting], kind="stable")]
    shortening = -lengths[fitting]
    chosen: list[Int64s] = []
    begin = 0
    while begin < len(fitting):
        ends = np.cumsum(-shortening[begin:])
        count = int(np.searchsorted(ends, gap, side="right"))
        chosen.append(fitting[begin : begin + count])
        # What is left is less than the last one taken: it halves at least with every turn.
        gap -= int(ends[count - 1])
        begin += count + int(np.searchsorted(shortening[begin + count :], -gap, side="left"))
    return np.sort(np.concatenate(chosen)) if chosen else fitting
