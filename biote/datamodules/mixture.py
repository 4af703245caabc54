"""Global steps of a pre-training mixture: which windows each holds, from any starting place.

Legend: W windows of a step.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from biote.corpora.shards import Corpus
from biote.corpora.windows import WindowIndex
from biote.datamodules.cursor import Cursor
from biote.datamodules.runs import WindowRun, join
from biote.datamodules.sampler import Int64s, MixtureTable, key, mix, permute
from biote.datamodules.upcoming import Upcoming

logger = logging.getLogger(__name__)

VALIDATION_PASS = 2**32 - 1
"""Takes the place of the pass number in validation, so that its masks never change."""

_CHUNK = 4_096


@dataclass(frozen=True)
class Step:
    """One global step: what all ranks and accumulated micro-batches hold together."""

    windows: WindowRun
    before: Cursor
    after: Cursor

    bounds: Int64s | None = None
    """First window of every part and W at the end, (parts + 1,), where parts are filled one by one;
    else the windows may be cut into any number of parts."""


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
        """The next windows of the mixture, those that were passed over not among them.

        Args:
            cursor: Where to begin.
            count: How many windows.
        """
        places = cursor.windows + np.arange(count)
        corpora = self._table.corpora(places)
        before = self._table.counts_before(places)
        before += np.array(cursor.corpora) - self._table.counts_before(places[:1])
        return self.at(corpora, before[np.arange(count), corpora])

    def at(self, corpora: Int64s, ordinals: Int64s) -> WindowRun:
        """Any windows by their corpora and ordinals.

        Args:
            corpora: Corpus of every window, (W,).
            ordinals: How many windows were drawn from the corpus before, over all passes, (W,).
        """
        count = len(corpora)
        units, starts, stops = (np.empty(count, np.int64) for _ in range(3))
        closes = np.empty(count, np.bool_)
        keys = np.empty(count, np.uint64)
        for corpus, index in enumerate(self._indices):
            here = np.flatnonzero(corpora == corpus)
            passes = ordinals[here] // len(index)
            for number in np.unique(passes):
                chosen = here[passes == number]
                order_key = key(self._seed, corpus, int(number))
                windows = permute(ordinals[chosen] % len(index), len(index), order_key)
                places = index.locate(windows)
                units[chosen], starts[chosen] = places.units, places.starts
                stops[chosen], closes[chosen] = places.stops, places.closes
                keys[chosen] = mix(windows.astype(np.uint64) + mask_key(order_key))
        return WindowRun(corpora, ordinals, units, starts, stops, closes, keys)

    def steps(
        self, cursor: Cursor, *, tokens_per_step: int, tokens: int, parts: int | None = None
    ) -> Iterator[Step]:
        """Global steps until the token budget is spent.

        A step takes windows in order as long as they fit ``tokens_per_step``, at least one. Where
        the number of its parts is given, each of them is filled as well as look-ahead can; see
        `biote.datamodules.lookahead`.

        Args:
            cursor: Where to begin.
            tokens_per_step: Tokens of a step, all ranks and micro-batches together.
            tokens: Token budget of the whole run; the last step may pass it by less than a step.
            parts: Micro-batches of a step over all ranks, of ``tokens_per_step / parts`` tokens
                each, if they are to be filled.
        """
        upcoming = Upcoming(self, cursor)
        while cursor.tokens < tokens:
            bounds = None
            if parts is None:
                windows = upcoming.in_order(tokens_per_step)
            else:
                runs = [upcoming.packed(tokens_per_step // parts) for _ in range(parts)]
                windows = join(runs)
                bounds = np.cumsum([0] + [len(run) for run in runs])
            after = upcoming.cursor(
                step=cursor.step + 1, tokens=cursor.tokens + int(windows.lengths.sum())
            )
            self._log_wraps(cursor, after)
            yield Step(windows, cursor, after, bounds)
            cursor = after

    def advanced(self, cursor: Cursor, count: int) -> tuple[int, ...]:
        """Windows drawn from every corpus after so many more of the mixture.

        Args:
            cursor: Where to begin.
            count: How many windows.
        """
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
        taken = 0
        # A chunk at a time: what is looked up follows the tokens, not the size of the corpus.
        for begin in range(0, len(index), _CHUNK):
            run = _validation_chunk(index, corpus, begin=begin, seed=seed)
            fitting = int(np.searchsorted(np.cumsum(run.lengths), tokens - taken, side="right"))
            runs.append(run.part(0, max(fitting, begin == 0)))
            taken += int(run.lengths.sum())
            if fitting < len(run):
                break
    return join(runs)


def _validation_chunk(index: WindowIndex, corpus: int, *, begin: int, seed: int) -> WindowRun:
    order_key = key(seed, corpus, VALIDATION_PASS)
    ordinals = np.arange(begin, min(begin + _CHUNK, len(index)))
    windows = permute(ordinals, len(index), order_key)
    places = index.locate(windows)
    return WindowRun(
        np.full(len(windows), corpus, np.int64),
        ordinals,
        places.units,
        places.starts,
        places.stops,
        places.closes,
        mix(windows.astype(np.uint64) + mask_key(order_key)),
    )
