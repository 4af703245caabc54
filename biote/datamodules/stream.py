"""Micro-batches of a pre-training run: masked, packed, dealt to ranks and workers.

Legend: B windows, T packed tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import IterableDataset, get_worker_info

from biote.batch import MaskedBatch
from biote.corpora.shards import Corpus
from biote.datamodules.mixture import Cursor, Mixture, WindowRun
from biote.datamodules.packing import IdArray, framed, pack, padding_group
from biote.datamodules.sampler import deal
from biote.molecules import MOLECULES
from biote.tokenization import Tokenizer


@dataclass(frozen=True, kw_only=True)
class Share:
    """Which part of every global step this process computes."""

    rank: int
    world: int
    accumulate: int
    """Micro-batches a step is accumulated over."""

    @property
    def parts(self) -> int:
        """Micro-batches of a global step, over all ranks."""
        return self.world * self.accumulate


class BatchBuilder:
    """Builds masked batches from windows."""

    def __init__(self, corpora: Sequence[Corpus], tokenizer: Tokenizer, rate: float) -> None:
        self._corpora = list(corpora)
        self._tokenizer = tokenizer
        self._rate = rate

    def micro_batch(
        self,
        windows: WindowRun,
        share: Share,
        micro: int,
        *,
        before: Cursor,
        after: Cursor,
        tokens: int,
    ) -> MaskedBatch:
        """Build one of the parts of a global step.

        Args:
            windows: Windows of the whole step.
            share: Which parts are this process's.
            micro: Ordinal of the micro-batch in the step.
            before: Where the run stands before the step.
            after: Where it stands after it.
            tokens: Token budget of the run.
        """
        lengths = windows.lengths
        part = micro * share.world + share.rank
        first, last = deal(lengths, share.parts)[part : part + 2].tolist()
        mine = windows.part(first, last)
        # Every rank counts the masked tokens of all: cheaper than asking the others.
        chosen = windows.masked(self._rate)
        begin, end = int(lengths[:first].sum()), int(lengths[:last].sum())
        ids, codes = self._groups(mine)
        padding = 0
        if not ids:
            ids, codes = padding_group(self._tokenizer)
            padding = 1
        packed = pack(ids, codes)
        masked = torch.from_numpy(np.flatnonzero(chosen[begin:end]))
        targets = packed["ids"][masked]
        packed["ids"][masked] = self._tokenizer.mask_id
        return MaskedBatch(
            **packed,
            masked=masked,
            targets=targets,
            step_masked=int(chosen.sum()),
            step_tokens=len(chosen),
            progress=min(1.0, before.tokens / tokens),
            step=before.step,
            last=after.tokens >= tokens,
            cursor=after.flat(),
            padding_tokens=padding,
        )

    def _groups(self, windows: WindowRun) -> tuple[list[IdArray], list[IdArray]]:
        ids, codes = [], []
        units_of: dict[int, Any] = {}
        for corpus in np.unique(windows.corpora):
            here = windows.corpora == corpus
            units_of[int(corpus)] = iter(self._corpora[corpus].molecule_codes(windows.units[here]))
        for corpus, unit, start, stop, closes in zip(
            windows.corpora.tolist(),
            windows.units.tolist(),
            windows.starts.tolist(),
            windows.stops.tolist(),
            windows.closes.tolist(),
            strict=True,
        ):
            code = int(next(units_of[corpus]))
            bare = self._corpora[corpus].tokens(unit, start, stop)
            group = framed(bare, MOLECULES[code], self._tokenizer, closes=closes)
            ids.append(group)
            codes.append(np.full(len(group), code, np.uint8))
        return ids, codes


class TrainingStream(IterableDataset[MaskedBatch]):
    """Micro-batches of one rank, from a cursor until the token budget is spent.

    DataLoader workers each compute the whole plan, which is cheap, and build every n-th batch.
    """

    def __init__(
        self,
        mixture: Mixture,
        batches: BatchBuilder,
        share: Share,
        *,
        cursor: Cursor,
        tokens_per_step: int,
        tokens: int,
    ) -> None:
        super().__init__()
        self._mixture, self._batches, self._share = mixture, batches, share
        self._cursor, self._tokens_per_step, self._tokens = cursor, tokens_per_step, tokens

    def __iter__(self) -> Iterator[MaskedBatch]:
        worker, workers = _worker()
        ordinal = 0
        for step in self._mixture.steps(
            self._cursor, tokens_per_step=self._tokens_per_step, tokens=self._tokens
        ):
            for micro in range(self._share.accumulate):
                if ordinal % workers == worker:
                    yield self._batches.micro_batch(
                        step.windows,
                        self._share,
                        micro,
                        before=step.before,
                        after=step.after,
                        tokens=self._tokens,
                    )
                ordinal += 1


class ValidationStream(IterableDataset[MaskedBatch]):
    """Fixed windows with fixed masks, the same for any number of ranks together."""

    def __init__(
        self, windows: WindowRun, batches: BatchBuilder, share: Share, *, tokens_per_batch: int
    ) -> None:
        super().__init__()
        self._windows, self._batches, self._share = windows, batches, share
        self._tokens_per_batch = tokens_per_batch

    def __iter__(self) -> Iterator[MaskedBatch]:
        worker, workers = _worker()
        lengths = self._windows.lengths
        parts = max(1, -(-int(lengths.sum()) // self._tokens_per_batch))
        ends = deal(lengths, parts)
        nowhere = Cursor.start(0)
        for part in range(parts):
            if part % workers == worker and ends[part] < ends[part + 1]:
                yield self._batches.micro_batch(
                    self._windows.part(int(ends[part]), int(ends[part + 1])),
                    self._share,
                    0,
                    before=nowhere,
                    after=nowhere,
                    tokens=1,
                )


def _worker() -> tuple[int, int]:
    """Number of this DataLoader worker and of all."""
    info = get_worker_info()
    return (info.id, info.num_workers) if info is not None else (0, 1)
