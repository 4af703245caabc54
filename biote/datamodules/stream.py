"""Micro-batches of a pre-training run: masked, packed, dealt to ranks and workers.

Legend: W windows of a global step, T tokens of it without padding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import IterableDataset, get_worker_info

from biote.batch import MaskedBatch
from biote.corpora.shards import Corpus
from biote.datamodules.cursor import Cursor
from biote.datamodules.lookahead import choose_all
from biote.datamodules.mixture import Mixture, Step
from biote.datamodules.packing import Packed, pack_flat
from biote.datamodules.runs import WindowRun
from biote.datamodules.sampler import Int64s, deal
from biote.datamodules.shares import PartSize, Share
from biote.molecules import MOLECULES, Molecule
from biote.tokenization import Tokenizer


@dataclass(frozen=True)
class DealtStep:
    """A global step cut into micro-batches."""

    step: Step

    bounds: Int64s
    """First window of every part and W at the end, (parts + 1,)."""

    masked: npt.NDArray[np.bool_]
    """Which tokens of the whole step are masked, (T,). Every rank counts those of all: cheaper
    than asking the others."""


class BatchBuilder:
    """Builds masked batches from windows.

    Args:
        corpora: Corpora of the mixture.
        tokenizer: Knows the special ids.
        rate: Probability of a token to be masked.
        size: What every batch is padded to; null pads none.
    """

    def __init__(
        self,
        corpora: Sequence[Corpus],
        tokenizer: Tokenizer,
        rate: float,
        *,
        size: PartSize | None = None,
    ) -> None:
        self._corpora = list(corpora)
        self._tokenizer = tokenizer
        self._rate = rate
        self._tags = np.array([tokenizer.tag_id(molecule) for molecule in MOLECULES])
        self._ends = np.array([tokenizer.eos_id(molecule.modality) for molecule in MOLECULES])
        self.size = size

    def deal(self, step: Step, parts: int) -> DealtStep:
        """Cut a step into micro-batches.

        Args:
            step: Step, perhaps already cut into so many parts.
            parts: Number of micro-batches over all ranks.
        """
        bounds = step.bounds if step.bounds is not None else deal(step.windows.lengths, parts)
        return DealtStep(step, bounds, step.windows.masked(self._rate))

    def micro_batch(self, dealt: DealtStep, part: int, *, tokens: int) -> MaskedBatch:
        """Build one of the parts of a global step.

        Args:
            dealt: The step.
            part: Ordinal of the micro-batch in it.
            tokens: Token budget of the run.
        """
        step, lengths = dealt.step, dealt.step.windows.lengths
        first, last = dealt.bounds[part : part + 2].tolist()
        begin, end = int(lengths[:first].sum()), int(lengths[:last].sum())
        padding = self._padding(end - begin)
        packed = self._packed(step.windows.part(first, last), padding)
        masked = torch.from_numpy(np.flatnonzero(dealt.masked[begin:end]))
        targets = packed["ids"][masked]
        packed["ids"][masked] = self._tokenizer.mask_id
        return MaskedBatch(
            **packed,
            masked=masked,
            targets=targets,
            step_masked=int(dealt.masked.sum()),
            step_tokens=len(dealt.masked),
            progress=min(1.0, step.before.tokens / tokens),
            step=step.before.step,
            last=step.after.tokens >= tokens,
            cursor=step.after.flat(),
            padding_tokens=padding,
        )

    def _padding(self, tokens: int) -> int:
        """Padding tokens of a part with so many others: a batch needs at least one token."""
        return self.size.tokens - tokens if self.size is not None else int(tokens == 0)

    def _packed(self, windows: WindowRun, padding: int) -> Packed:
        """The windows end to end, type tags and end tokens included, padding behind them."""
        longest = self.size.longest_group if self.size is not None else 1
        tail = [min(longest, padding - done) for done in range(0, padding, longest)]
        ends = np.cumsum(windows.lengths)
        begins = ends - windows.lengths
        window_codes = np.full(len(windows), Molecule.PROTEIN.code, np.uint8)
        used = int(ends[-1]) if len(ends) else 0
        ids = np.full(used + padding, self._tokenizer.pad_id, np.int64)
        for number in np.unique(windows.corpora).tolist():
            corpus, here = self._corpora[number], np.flatnonzero(windows.corpora == number)
            window_codes[here] = corpus.molecule_codes(windows.units[here])
            for unit, start, stop, begin in zip(
                windows.units[here].tolist(),
                windows.starts[here].tolist(),
                windows.stops[here].tolist(),
                begins[here].tolist(),
                strict=True,
            ):
                # One behind the type tag.
                ids[begin + 1 : begin + 1 + stop - start] = corpus.tokens(unit, start, stop)
        ids[begins] = self._tags[window_codes]
        ids[ends[windows.closes] - 1] = self._ends[window_codes[windows.closes]]
        codes = np.full(used + padding, Molecule.PROTEIN.code, np.uint8)
        codes[:used] = np.repeat(window_codes, windows.lengths)
        return pack_flat(ids, codes, lengths=[*windows.lengths.tolist(), *tail])


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
        share, ordinal = self._share, 0
        for step in self._mixture.steps(
            self._cursor,
            tokens_per_step=self._tokens_per_step,
            tokens=self._tokens,
            parts=share.parts if self._batches.size is not None else None,
        ):
            mine = [
                micro * share.world + share.rank
                for micro in range(share.accumulate)
                if (ordinal + micro) % workers == worker
            ]
            ordinal += share.accumulate
            if mine:
                dealt = self._batches.deal(step, share.parts)
                for part in mine:
                    yield self._batches.micro_batch(dealt, part, tokens=self._tokens)


class ValidationStream(IterableDataset[MaskedBatch]):
    """Fixed windows with fixed masks, the same for any number of ranks together.

    Args:
        windows: All of them.
        batches: Makes the batches.
        share: Rank and number of ranks.
        tokens_per_batch: Most tokens of a batch over all ranks, where batches are not padded.
    """

    def __init__(
        self, windows: WindowRun, batches: BatchBuilder, share: Share, *, tokens_per_batch: int
    ) -> None:
        super().__init__()
        self._windows, self._batches, self._share = windows, batches, share
        self._tokens_per_batch = tokens_per_batch

    def __iter__(self) -> Iterator[MaskedBatch]:
        worker, workers = _worker()
        for number, step in enumerate(self._steps()):
            if number % workers == worker and len(step.windows):
                dealt = self._batches.deal(step, self._share.world)
                yield self._batches.micro_batch(dealt, self._share.rank, tokens=1)

    def _steps(self) -> Iterator[Step]:
        """The windows of all ranks at a time."""
        nowhere = Cursor.start(0)
        lengths, size = self._windows.lengths, self._batches.size
        if size is None:
            ends = deal(lengths, max(1, -(-int(lengths.sum()) // self._tokens_per_batch)))
            for begin, end in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True):
                yield Step(self._windows.part(begin, end), nowhere, nowhere)
        else:
            parts = choose_all(lengths, size.tokens)
            for begin in range(0, len(parts), self._share.world):
                chosen = parts[begin : begin + self._share.world]
                missing = self._share.world - len(chosen)
                bounds = np.cumsum([0, *(len(part) for part in chosen), *[0] * missing])
                windows = self._windows.take(np.concatenate(chosen))
                yield Step(windows, nowhere, nowhere, bounds)


def _worker() -> tuple[int, int]:
    """Number of this DataLoader worker and of all."""
    info = get_worker_info()
    return (info.id, info.num_workers) if info is not None else (0, 1)
