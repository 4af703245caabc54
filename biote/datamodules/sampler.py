"""Order of a pre-training run as pure functions: which window stands at which place.

Nothing here is shuffled in memory. A place in a pass maps to a window through a Feistel
permutation, a place in the mixture maps to a corpus through a fixed table, so a run can begin at
any place at no cost and every process computes the same order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from biote.errors import ConfigError

UInt64s = npt.NDArray[np.uint64]
Int64s = npt.NDArray[np.int64]

SLOTS: Final = 10_000
"""Length of the repeating mixture table: shares are exact over any so many windows."""

_ROUNDS: Final = 6
_MIX_1: Final = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2: Final = np.uint64(0x94D049BB133111EB)
_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)


def mix(values: UInt64s) -> UInt64s:
    """Scatter 64-bit numbers so that close ones end far apart (the splitmix64 finaliser).

    Args:
        values: Any numbers.

    Returns:
        A bijection of them, of the same shape.
    """
    mixed = values ^ (values >> np.uint64(30))
    mixed *= _MIX_1
    mixed ^= mixed >> np.uint64(27)
    mixed *= _MIX_2
    mixed ^= mixed >> np.uint64(31)
    return mixed


def key(*parts: int) -> np.uint64:
    """Combine numbers, order mattering, into one 64-bit key.

    Args:
        parts: Numbers such as seed, corpus and pass.
    """
    value = np.zeros(1, np.uint64)
    for part in parts:
        value = mix(value + _GOLDEN + np.array([part & 0xFFFFFFFFFFFFFFFF], np.uint64))
    return np.uint64(value[0])


def permute(places: Int64s, size: int, permutation_key: np.uint64) -> Int64s:
    """Map places of a pass to windows, a permutation of ``range(size)``.

    Args:
        places: Numbers in ``range(size)``.
        size: Windows of a pass.
        permutation_key: Chooses the permutation (see `key`).

    Returns:
        Window of every place.
    """
    bits = max(int(size - 1).bit_length(), 2)
    low_bits = np.uint64(bits // 2)
    low_mask = np.uint64((1 << (bits // 2)) - 1)
    high_mask = np.uint64((1 << (bits - bits // 2)) - 1)
    keys = mix(permutation_key + _GOLDEN * np.arange(1, _ROUNDS + 1, dtype=np.uint64))

    def once(values: UInt64s) -> UInt64s:
        low, high = values & low_mask, values >> low_bits
        for i in range(0, _ROUNDS, 2):
            low = low ^ (mix(high + keys[i]) & low_mask)
            high = high ^ (mix(low + keys[i + 1]) & high_mask)
        return (high << low_bits) | low

    # The halves span up to twice the size: a result outside it is sent on until it falls inside.
    result = once(places.astype(np.uint64))
    outside = np.flatnonzero(result >= np.uint64(size))
    while len(outside):
        moved = once(result[outside])
        result[outside] = moved
        outside = outside[moved >= np.uint64(size)]
    return result.astype(np.int64)


class MixtureTable:
    """Which corpus stands at which place of a weighted mixture.

    Weights are shares of windows. The table repeats after 10,000 places, in which every corpus
    has its share to the nearest 1/10,000, evenly spread; so any 10,000 places in a row hold
    exactly those counts.

    Args:
        weights: Positive weight of every corpus; their sum does not matter.

    Raises:
        ConfigError: If there is no weight, one is not positive, or one is too small to get a
            place.
    """

    def __init__(self, weights: Sequence[float]) -> None:
        if not weights or any(not weight > 0 for weight in weights):
            raise ConfigError(
                f"mixture weights {list(weights)}",
                where="data.corpora",
                mend="give at least one corpus, each with a weight above 0",
            )
        shares = np.array(weights, np.float64) / sum(weights) * SLOTS
        counts = np.floor(shares).astype(np.int64)
        for corpus in np.argsort(counts - shares, kind="stable")[: SLOTS - int(counts.sum())]:
            counts[corpus] += 1
        if counts.min() == 0:
            raise ConfigError(
                f"weight {weights[int(counts.argmin())]} is below 1/{SLOTS} of the mixture",
                where="data.corpora",
                mend="raise it or leave the corpus out",
            )
        times = np.concatenate([(np.arange(n) + 0.5) / n for n in counts])
        corpora = np.repeat(np.arange(len(counts)), counts)
        self._corpora = corpora[np.argsort(times, kind="stable")]
        self._counts = counts
        taken = self._corpora[:, None] == np.arange(len(counts))  # (SLOTS, corpora)
        self._before = np.concatenate([np.zeros((1, len(counts)), np.int64), taken.cumsum(0)])

    def corpora(self, places: Int64s) -> npt.NDArray[np.int64]:
        """Corpus at every place."""
        return self._corpora[places % SLOTS]

    def counts_before(self, places: Int64s) -> Int64s:
        """How many windows of every corpus stand before each place, (places, corpora)."""
        counts: Int64s = (places // SLOTS)[:, None] * self._counts + self._before[places % SLOTS]
        return counts


def deal(lengths: npt.NDArray[np.integer[Any]], parts: int) -> Int64s:
    """Cut a run of windows into consecutive parts of about equal numbers of tokens.

    Args:
        lengths: Tokens of every window.
        parts: Number of parts.

    Returns:
        First window of every part and the number of windows at the end, (parts + 1,); a part
        may be empty.
    """
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    targets = total * np.arange(1, parts) / parts
    # A window belongs to the part in which its middle lies.
    inner = np.searchsorted(ends - np.asarray(lengths) / 2, targets, side="left")
    return np.concatenate([[0], inner, [len(lengths)]]).astype(np.int64)
