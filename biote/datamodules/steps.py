"""Steps over labelled rows: who computes which rows, in which order.

A step's rows are the same whatever the number of ranks; no row is repeated to fill a step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from torch.utils.data import DistributedSampler

from biote.datamodules.sampler import key, permute


@dataclass(frozen=True)
class RowStep:
    """The rows of one micro-batch."""

    rows: tuple[int, ...]
    """Row numbers; none where a step has fewer rows than parts."""

    step_rows: int
    """Rows of the whole global step."""

    step_weight: int
    """Sum of the weights of those rows."""


class StepSampler(DistributedSampler[RowStep]):
    """Deals the rows of an epoch into steps, and each step into micro-batches.

    It is a DistributedSampler because Lightning deals out the items of any other sampler among
    the ranks once more.

    Args:
        n_rows: Number of rows.
        rows_per_step: Rows of a global step; the last step of an epoch may have fewer.
        rank: This process.
        world: Number of processes.
        accumulate: Micro-batches a step is accumulated over.
        seed: Chooses the order of every epoch; null keeps the order of the rows.
        steps_done: Asked when an epoch begins: steps since the beginning of the run. They alone
            decide the epoch and where in it to begin, so that a resumed run cannot be elsewhere.
        limit: Share (float) or number (int) of an epoch's micro-batches after which the trainer
            cuts it short.
        weights: Weight of every row, what a step's loss is divided by; null weighs every row 1.
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
        steps_done: Callable[[], int],
        limit: int | float = 1.0,
        weights: Sequence[int] | None = None,
    ) -> None:
        super().__init__(range(n_rows), num_replicas=world, rank=rank, shuffle=False)  # type: ignore[arg-type]
        self._n_rows = n_rows
        self._rows_per_step = rows_per_step
        self._accumulate = accumulate
        self._seed = seed
        self._steps_done = steps_done
        self._weights = np.ones(n_rows, np.int64) if weights is None else np.array(weights)
        batches = min(limit, len(self)) if isinstance(limit, int) else int(limit * len(self))
        self._used_steps = max(1, batches // accumulate)

    @property
    def steps_per_epoch(self) -> int:
        """Steps of an epoch, the last of which may have fewer rows."""
        return -(-self._n_rows // self._rows_per_step)

    def __len__(self) -> int:
        return self.steps_per_epoch * self._accumulate

    def __iter__(self) -> Iterator[RowStep]:
        epoch, first = divmod(self._steps_done(), self._used_steps)
        order = np.arange(self._n_rows)
        if self._seed is not None:
            order = permute(order, self._n_rows, key(self._seed, epoch))
        parts = self.num_replicas * self._accumulate
        for step in range(first, self.steps_per_epoch):
            rows = order[step * self._rows_per_step : (step + 1) * self._rows_per_step]
            weight = int(self._weights[rows].sum())
            shares = np.array_split(rows, parts)
            for micro in range(self._accumulate):
                share = shares[micro * self.num_replicas + self.rank]
                yield RowStep(tuple(share.tolist()), len(rows), weight)
