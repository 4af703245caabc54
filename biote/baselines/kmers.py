"""K-mer frequencies of sequences.

Legend: N sequences, A letters of the alphabet, F features (A + A^2 + ... + A^k_max).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def kmer_frequencies(
    sequences: Sequence[str], alphabet: str, k_max: int
) -> npt.NDArray[np.float32]:
    """Count k-mers of every length up to ``k_max`` and divide by their number.

    A window with a letter outside the alphabet is left out. The frequencies of one length sum to
    1, or to 0 for a sequence without a whole window of that length.

    Args:
        sequences: Sequences; each distinct one is counted once.
        alphabet: Distinct upper-case letters.
        k_max: Longest k-mer.

    Returns:
        Frequencies, (N, F): 1-mers in the order of the alphabet, then 2-mers with the last letter
        varying fastest, and so on.
    """
    features = sum(len(alphabet) ** k for k in range(1, k_max + 1))
    codes = np.full(256, -1, dtype=np.int64)
    for code, letter in enumerate(alphabet):
        codes[ord(letter)] = code
    row_of: dict[str, int] = {}
    index = np.array([row_of.setdefault(s, len(row_of)) for s in sequences], dtype=np.int64)
    distinct = np.zeros((len(row_of), features), dtype=np.float32)
    for sequence, row in row_of.items():
        letters = np.frombuffer(sequence.encode("latin-1"), dtype=np.uint8)
        _count(codes[letters], len(alphabet), out=distinct[row], k_max=k_max)
    return distinct[index]


def _count(
    codes: npt.NDArray[np.int64], letters: int, *, out: npt.NDArray[np.float32], k_max: int
) -> None:
    """Write the frequencies of one sequence of L letters, -1 where outside the alphabet."""
    start = 0
    kmers = np.zeros(len(codes) + 1, dtype=np.int64)  # of length k - 1, (L - k + 2,)
    known = np.ones(len(codes) + 1, dtype=np.bool_)
    for k in range(1, k_max + 1):
        last = codes[k - 1 :]
        kmers = kmers[: len(last)] * letters + last
        known = known[: len(last)] & (last >= 0)
        counts = np.bincount(kmers[known], minlength=letters**k)
        total = counts.sum()
        if total:
            out[start : start + letters**k] = counts / total
        start += letters**k
