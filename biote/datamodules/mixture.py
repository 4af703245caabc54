"""Global steps of a pre-training mixture: which windows each holds, from any starting place.

Legend: W windows of a step, T tokens of a step.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from biote.corpora.shards import Corpus
from biote.corpora.windows import WindowIndex
from biote.datamodules.masking import masked_tokens
from biote.datamodules.sampler import Int64s, MixtureTable, UInt64s, key, mix, permute

logger = logging.getLogger(__name__)

_CHUNK = 4_096
VALIDATION_PASS = 2**32 - 1
"""Takes the place of the pass number in validation, so that its masks never change."""


@dataclass(frozen=True)
class Cursor:
    """Where a run stands between two optimiser steps."""

    step: int
    """Optimiser steps done."""

    tokens: int
    """Tokens of those steps."""

    windows: int
    """Windows drawn from the mixture."""

    corpora: tuple[int, ...]
    """Windows drawn from every corpus, over all passes."""

    @classmethod
    def start(cls, corpora: int) -> Cursor:
        """The beginning of a run over so many corpora."""
        return cls(0, 0, 0, (0,) * corpora)

    def flat(self) -> tuple[int, ...]:
        """The cursor as plain numbers, as batches carry it and checkpoints store it."""
        return (self.step, self.tokens, self.windows, *self.corpora)

    @classmethod
    def from_flat(cls, values: Sequence[int]) -> Cursor:
        """Rebuild a cursor from `flat`."""
        step, tokens, windows, *corpora = (int(value) for value in values)
        return cls(step, tokens, windows, tuple(corpora))


@dataclass(frozen=True)
class WindowRun:
    """Consecutive windows of a run, possibly of several corpora."""

    corpora: Int64s
    """Corpus of every window, (W,)."""

    units: Int64s
    starts: Int64s
    """First token of the window in its unit, (W,)."""

    stops: Int64s
    closes: npt.NDArray[np.bool_]
    """Whether the record ends with the window, (W,)."""

    keys: UInt64s
    """What decides the masks of every window, (W,)."""

    @property
    def lengths(self) -> Int64s:
        """Tokens of every window, type tag and end token included, (W,)."""
        return 1 + self.stops - self.starts + self.closes

    def __len__(self) -> int:
        return len(self.units)

    def part(self, start: int, stop: int) -> WindowRun:
        """Windows ``start`` to ``stop`` of the run."""
        return WindowRun(
            self.corpora[start:stop],
            self.units[start:stop],
            self.starts[start:stop],
            self.stops[start:stop],
            self.closes[start:stop],
            self.keys[start:stop],
        )

    def masked(self, rate: float) -> npt.NDArray[np.bool_]:
        """Which tokens of the run are masked, (T,)."""
        return masked_tokens(self.keys, self.lengths, self.closes, rate=rate)


@dataclass(frozen=True)
class Step:
    """One global step: what all ranks and accumulated micro-batches hold together."""

    windows: WindowRun
    before: Cursor
    after: Cursor


def _join(runs: Sequence[WindowRun]) -> WindowRun:
    columns = ("corpora", "units", "starts", "stops", "closes", "keys")
    return WindowRun(*(np.concatenate([getattr(run, name) for run in runs]) for name in columns))


class Mixture:
    """Windows of several corpora in their order of use.

    Args:
        corpora: Corpora of one tokenizer.
        indices: Training windows of every corpus.
        weights: Shares of windows.
        seed: Chooses the order and the masks.
    """

    def __init__(
        self,
        corpora: Sequence[Corpus],
        indices: Sequence[WindowIndex],
        *,
        weights: Sequence[float],
        seed: int,
    ) -> None:
        self._corpora = list(corpora)
        self._indices = list(indices)
        self._table = MixtureTable(weights)
        self._seed = seed

    def windows(self, cursor: Cursor, count: int) -> WindowRun:
        """The next windows of the mixture.

        Args:
            cursor: Where to begin.
            count: How many windows.
        """
        places = cursor.windows + np.arange(count)
        corpora = self._table.corpora(places)
        drawn = self._table.counts_before(places)
        drawn += np.array(cursor.corpora) - self._table.counts_before(places[:1])
        run: dict[str, npt.NDArray[np.int64]] = {
            name: np.empty(count, np.int64) for name in ("units", "starts", "stops")
        }
        closes = np.empty(count, np.bool_)
        keys = np.empty(count, np.uint64)
        for corpus, index in enumerate(self._indices):
            here = np.flatnonzero(corpora == corpus)
            ordinals = drawn[here, corpus]
            passes = ordinals // len(index)
            for number in np.unique(passes):
                chosen = here[passes == number]
                order_key = key(self._seed, corpus, int(number))
                windows = permute(ordinals[passes == number] % len(index), len(index), order_key)
                places_in_corpus = index.locate(windows)
                run["units"][chosen] = places_in_corpus.units
                run["starts"][chosen] = places_in_corpus.starts
                run["stops"][chosen] = places_in_corpus.stops
                closes[chosen] = places_in_corpus.closes
                keys[chosen] = mix(windows.astype(np.uint64) + mask_key(order_key))
        return WindowRun(corpora, run["units"], run["starts"], run["stops"], closes, keys)

    def steps(self, cursor: Cursor, *, tokens_per_step: int, tokens: int) -> Iterator[Step]:
        """Global steps until the token budget is spent.

        A step takes windows in order as long as they fit ``tokens_per_step``, at least one.

        Args:
            cursor: Where to begin.
            tokens_per_step: Tokens of a step, all ranks and micro-batches together.
            tokens: Token budget of the whole run; the last step may pass it by less than a step.
        """
        ahead, taken = self.windows(cursor, _CHUNK), 0
        while cursor.tokens < tokens:
            ends = np.cumsum(ahead.lengths[taken:])
            while not len(ends) or ends[-1] <= tokens_per_step:
                beyond = Cursor(
                    cursor.step,
                    cursor.tokens,
                    cursor.windows + len(ahead) - taken,
                    self._advanced(cursor, len(ahead) - taken),
                )
                ahead, taken = (
                    _join([ahead.part(taken, len(ahead)), self.windows(beyond, _CHUNK)]),
                    0,
                )
                ends = np.cumsum(ahead.lengths)
            count = max(1, int(np.searchsorted(ends, tokens_per_step, side="right")))
            after = Cursor(
                cursor.step + 1,
                cursor.tokens + int(ends[count - 1]),
                cursor.windows + count,
                self._advanced(cursor, count),
            )
            self._log_wraps(cursor, after)
            yield Step(ahead.part(taken, taken + count), cursor, after)
            cursor, taken = after, taken + count

    def _advanced(self, cursor: Cursor, count: int) -> tuple[int, ...]:
        ends = self._table.counts_before(np.array([cursor.windows, cursor.windows + count]))
        return tuple(int(n) for n in np.array(cursor.corpora) + ends[1] - ends[0])

    def _log_wraps(self, before: Cursor, after: Cursor) -> None:
        for corpus, (first, last) in enumerate(zip(before.corpora, after.corpora, strict=True)):
            size = len(self._indices[corpus])
            if last // size > first // size:
                logger.info(
                    "Corpus %s begins pass %d (%d windows a pass).",
                    self._corpora[corpus].folder,
                    last // size + 1,
                    size,
                )


def mask_key(order_key: np.uint64) -> np.uint64:
    """Key of the masks that belong to a key of an order, so that the two are independent."""
    return np.uint64(mix(np.array([order_key ^ np.uint64(0xA5A5A5A5A5A5A5A5)]))[0])


def validation_windows(
    indices: Sequence[WindowIndex], corpora: Sequence[Corpus], *, tokens: int, seed: int
) -> WindowRun:
    """The windows of validation, the same in every run: up to so many tokens of every corpus.

    Args:
        indices: Validation windows of every corpus.
        corpora: The corpora, in the same order.
        tokens: Most tokens to take of a corpus; its windows are drawn without repetition.
        seed: Chooses the windows and the masks.
    """
    runs = []
    for corpus, index in enumerate(indices):
        if len(index) == 0:
            logger.info("Corpus %s has no validation window.", corpora[corpus].folder)
            continue
        order_key = key(seed, corpus, VALIDATION_PASS)
        # A window has at least one token: more places than tokens are never needed.
        windows = permute(np.arange(min(len(index), tokens)), len(index), order_key)
        places = index.locate(windows)
        run = WindowRun(
            np.full(len(windows), corpus, np.int64),
            places.units,
            places.starts,
            places.stops,
            places.closes,
            mix(windows.astype(np.uint64) + mask_key(order_key)),
        )
        count = int(np.searchsorted(np.cumsum(run.lengths), tokens, side="right"))
        runs.append(run.part(0, max(1, count)))
    return _join(runs) if runs else _EMPTY


_NO_WINDOWS = np.empty(0, np.int64)
_EMPTY = WindowRun(
    _NO_WINDOWS,
    _NO_WINDOWS,
    _NO_WINDOWS,
    _NO_WINDOWS,
    np.empty(0, np.bool_),
    np.empty(0, np.uint64),
)
