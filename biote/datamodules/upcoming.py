"""The windows of a mixture that a run has not used yet.

Legend: W windows, C chosen ones.
"""

from __future__ import annotations

from typing import Final, Protocol

import numpy as np

from biote.datamodules.cursor import Cursor
from biote.datamodules.lookahead import LOOK_AHEAD, choose
from biote.datamodules.runs import WindowRun, join
from biote.datamodules.sampler import Int64s

_CHUNK: Final = 4_096
"""Windows drawn at once, to spread the cost of a call over them."""


class Source(Protocol):
    """Where windows come from: `biote.datamodules.mixture.Mixture`."""

    def windows(self, cursor: Cursor, count: int) -> WindowRun:
        """The next windows of the mixture."""

    def at(self, corpora: Int64s, ordinals: Int64s) -> WindowRun:
        """Any windows by their corpora and ordinals."""

    def advanced(self, cursor: Cursor, count: int) -> tuple[int, ...]:
        """Windows drawn from every corpus after so many more of the mixture."""


class Upcoming:
    """Windows not used yet, in order: first those that were passed over, then those that follow.

    How many of them are in memory has no influence on what is chosen, so a run that begins at a
    cursor goes on exactly like the one that gave it.

    Args:
        source: The mixture.
        cursor: Where to begin.
    """

    def __init__(self, source: Source, cursor: Cursor) -> None:
        self._source, self._origin = source, cursor
        self._drawn = self._frontier = 0
        """Places of the mixture from the origin on: those in memory, those up to the last used."""
        pending = np.array(cursor.pending, np.int64).reshape(-1, 2)
        self._run = source.at(pending[:, 0], pending[:, 1])
        self._lengths = self._run.lengths
        self._places = np.full(len(pending), -1)  # before the origin
        self._waiting = np.arange(len(pending))

    def in_order(self, capacity: int) -> WindowRun:
        """Take windows as long as they fit, at least one.

        Args:
            capacity: Most tokens to take.
        """
        ends = np.cumsum(self._exceeding(capacity))
        count = max(1, int(np.searchsorted(ends, capacity, side="right")))
        return self._take(np.arange(count))

    def packed(self, capacity: int) -> WindowRun:
        """Take windows that fill a part; see `biote.datamodules.lookahead`.

        Args:
            capacity: Most tokens to take, not below the length of any window.
        """
        enough = len(self._exceeding(capacity))
        return self._take(choose(self._next(enough + LOOK_AHEAD), capacity))

    def cursor(self, *, step: int, tokens: int) -> Cursor:
        """Where the run stands after what was taken.

        Args:
            step: Steps done.
            tokens: Tokens of those steps.
        """
        passed_over = np.searchsorted(self._places[self._waiting], self._frontier)
        pending = self._waiting[:passed_over]
        named = np.stack([self._run.corpora[pending], self._run.ordinals[pending]], axis=1)
        return Cursor(
            step,
            tokens,
            self._origin.windows + self._frontier,
            self._source.advanced(self._origin, self._frontier),
            tuple(named.ravel().tolist()),
        )

    def _exceeding(self, capacity: int) -> Int64s:
        """Lengths of the next windows, so many that their sum exceeds the capacity."""
        count = LOOK_AHEAD
        while (lengths := self._next(count)).sum() <= capacity:
            count *= 2
        return lengths

    def _next(self, count: int) -> Int64s:
        """Lengths of the next windows."""
        missing = count - len(self._waiting)
        if missing > 0:
            self._draw(max(missing, _CHUNK))
        return self._lengths[self._waiting[:count]]

    def _draw(self, count: int) -> None:
        begin = Cursor(
            0,
            0,
            self._origin.windows + self._drawn,
            self._source.advanced(self._origin, self._drawn),
        )
        more = self._source.windows(begin, count)
        self._run = join([self._run.take(self._waiting), more])
        self._lengths = self._run.lengths
        self._places = np.concatenate([self._places[self._waiting], self._drawn + np.arange(count)])
        self._waiting = np.arange(len(self._run))
        self._drawn += count

    def _take(self, which: Int64s) -> WindowRun:
        """Take waiting windows, named by their ascending places among those that wait."""
        chosen = self._waiting[which]
        self._waiting = np.delete(self._waiting, which)
        self._frontier = max(self._frontier, int(self._places[chosen[-1]]) + 1)
        return self._run.take(chosen)
