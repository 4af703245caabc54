"""Windows in the order in which a run uses them, as columns.

Legend: W windows, T tokens of all of them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from biote.datamodules.masking import masked_tokens
from biote.datamodules.sampler import Int64s, UInt64s


@dataclass(frozen=True)
class WindowRun:
    """Windows of a run one after the other, possibly of several corpora."""

    corpora: Int64s
    """Corpus of every window, (W,)."""

    ordinals: Int64s
    """How many windows were drawn from the corpus before each window, over all passes, (W,)."""

    units: Int64s
    starts: Int64s
    """First token of the window in its unit, (W,)."""

    stops: Int64s
    closes: npt.NDArray[np.bool_]
    """Whether the record ends with the window, (W,)."""

    keys: UInt64s
    """What decides the masks of every window, (W,)."""

    @classmethod
    def empty(cls) -> WindowRun:
        """No window."""
        none = np.empty(0, np.int64)
        return cls(
            none, none, none, none, none, closes=none.astype(np.bool_), keys=none.astype(np.uint64)
        )

    @property
    def lengths(self) -> Int64s:
        """Tokens of every window, type tag and end token included, (W,)."""
        return 1 + self.stops - self.starts + self.closes

    def __len__(self) -> int:
        return len(self.units)

    def part(self, start: int, stop: int) -> WindowRun:
        """Windows ``start`` to ``stop`` of the run."""
        return self._select(slice(start, stop))

    def take(self, places: Int64s) -> WindowRun:
        """The windows at some places of the run."""
        return self._select(places)

    def masked(self, rate: float) -> npt.NDArray[np.bool_]:
        """Which tokens of the run are masked, (T,)."""
        return masked_tokens(self.keys, self.lengths, self.closes, rate=rate)

    def _select(self, which: slice | Int64s) -> WindowRun:
        columns: list[npt.NDArray[Any]] = [getattr(self, name) for name in _COLUMNS]
        return WindowRun(*(column[which] for column in columns))


def join(runs: Sequence[WindowRun]) -> WindowRun:
    """Lay runs end to end.

    Args:
        runs: Any number of them.
    """
    if len(runs) == 1:
        return runs[0]
    if not runs:
        return WindowRun.empty()
    return WindowRun(*(np.concatenate([getattr(run, name) for run in runs]) for name in _COLUMNS))


_COLUMNS = tuple(field.name for field in dataclasses.fields(WindowRun))
