"""Steps over labelled rows: who computes which rows, in which order.

A step's rows are the same whatever the number of ranks; no row is repeated to fill a step.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from torch.utils.data import Sampler

from biote.datamodules.sampler import key, permute


@dataclass(frozen=True)
class RowStep:
    """The rows of one micro-batch."""

    rows: tuple[int, ...]
    """Row numbers; none where a step has fewer rows than parts."""

    step_rows: int
    """Rows of the whole global step."""


class StepSampler(Sampler[RowStep]):
    """Deals the rows of an epoch into steps, and each step into micro-batches.

    Args:
        n_rows: Number of rows.
        rows_per_step: Rows of a global step; the last step of an epoch may have fewer.
        rank: This process.
        world: Number of processes.
        accumulate: Micro-batches a step is accumulated over.
        seed: Chooses the order of every epoch; null keeps the order of the rows.
    """

    def __init__(
        self,
        n_rows: int,
        rows_per_step: int,
        *,
        rank: int,
        world: int,
        accumulate: int,
        seed: int | None,
    ) -> None:
        self._n_rows = n_rows
        self._rows_per_step = rows_per_step
        self._rank = rank
        self._world = world
        self._accumulate = accumulate
        self._seed = seed
        self._epoch = 0
        self._skipped = (0, 0)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch; Lightning calls this before each.

        Args:
            epoch: Number of the epoch, from 0.
        """
        self._epoch = epoch

    def skip(self, epoch: int, batches: int) -> None:
        """Leave out micro-batches of one epoch that are done already.

        Args:
            epoch: Number of the epoch that was under way.
            batches: Micro-batches of it that were done.
        """
        self._skipped = (epoch, batches)

    def __len__(self) -> int:
        return -(-self._n_rows // self._rows_per_step) * self._accumulate

    def __iter__(self) -> Iterator[RowStep]:
        order = np.arange(self._n_rows)
        if self._seed is not None:
            order = permute(order, self._n_rows, key(self._seed, self._epoch))
        parts = self._world * self._accumulate
        first = self._skipped[1] if self._epoch == self._skipped[0] else 0
        for batch in range(first, len(self)):
            step, micro = divmod(batch, self._accumulate)
            rows = order[step * self._rows_per_step : (step + 1) * self._rows_per_step]
            share = np.array_split(rows, parts)[micro * self._world + self._rank]
            yield RowStep(tuple(share.tolist()), len(rows))
