"""Similar proteins among very many, without aligning all pairs.

Only proteins that share enough distinct k-mers are aligned; the scores are those of
`biote.splits.homology`. A pair above the threshold whose k-mers differ too much is missed (of 144
such pairs among the proteins of ProNAB, 5), so clusters are those of all pairs or finer: a split by
them has to be looked through with `biote.splits.homology.links_of`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import parasail

from biote.splits.homology import GAP_EXTEND, GAP_OPEN, SIMILAR_ABOVE, OnPairs

KMER: Final = 4
"""Residues of a k-mer."""

SHARED_SHARE: Final = 0.015
"""Proteins with fewer distinct k-mers in common than this share of the longer one's length are
not aligned."""

LEAST_SHARED: Final = 2
"""Nor are those with fewer in common than this, unless the shorter one has no more."""

_MATRIX: Final = parasail.blosum62
_SCORED_AS: Final = str.maketrans("UO", "CK")  # BLOSUM62 knows neither
_LETTERS: Final = "ARNDCQEGHILKMFPSTWYVBZX"
_IDENTICAL: Final = {letter: int(_MATRIX.matrix[i, i]) for i, letter in enumerate(_LETTERS)}
_BEST_RESIDUE: Final = max(_IDENTICAL.values())


def similar_pairs(
    sequences: Sequence[str],
    threshold: float = SIMILAR_ABOVE,
    *,
    progress: OnPairs | None = None,
) -> Iterator[tuple[int, int]]:
    """Find pairs of proteins that score above a threshold.

    Args:
        sequences: N distinct canonical proteins.
        threshold: Least score per residue of the longer protein, not included.
        progress: Is told the proteins done and all there are.

    Yields:
        Positions of the two, the smaller first.
    """
    letters = [sequence.translate(_SCORED_AS) for sequence in sequences]
    lengths = np.array([len(text) for text in letters], np.int64)
    owners, firsts, kmers_of = _index(letters)
    for i, text in enumerate(letters):
        begins = firsts[kmers_of[i]]
        sizes = firsts[kmers_of[i] + 1] - begins
        # Where the holders of all its k-mers stand, one list behind the other.
        places = np.repeat(begins - np.cumsum(sizes) + sizes, sizes) + np.arange(sizes.sum())
        counts = np.bincount(owners[places], minlength=len(letters))
        shorter, longer = np.minimum(lengths, len(text)), np.maximum(lengths, len(text))
        needed = np.minimum(
            np.maximum(LEAST_SHARED, SHARED_SHARE * longer), np.maximum(shorter - KMER, 1)
        )
        # At best every residue of the shorter one scores the matrix' maximum.
        difference = longer - shorter
        gap = np.where(difference > 0, GAP_OPEN + GAP_EXTEND * (difference - 1), 0)
        possible = (shorter * _BEST_RESIDUE - gap) / longer > threshold
        found = np.flatnonzero((counts >= needed) & possible)
        profile = parasail.profile_create_16(text, _MATRIX)
        for j in found[found > i].tolist():
            result = parasail.nw_striped_profile_16(profile, letters[j], GAP_OPEN, GAP_EXTEND)
            if result.saturated:  # beyond 16 bits: very long proteins
                result = parasail.nw_striped_32(text, letters[j], GAP_OPEN, GAP_EXTEND, _MATRIX)
            if result.score / longer[j] > threshold:
                yield i, j
        if progress is not None:
            progress(i + 1, len(letters))


def _index(
    letters: Sequence[str],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], list[npt.NDArray[np.int64]]]:
    """Which proteins hold each k-mer.

    Returns:
        Proteins by k-mer, end to end; where those of each k-mer begin; distinct k-mers of every
        protein.
    """
    codes = np.zeros(256, np.int64)
    codes[np.frombuffer(_LETTERS.encode(), np.uint8)] = np.arange(len(_LETTERS))
    kinds = len(_LETTERS) ** KMER
    kmers_of = []
    for text in letters:
        residues = codes[np.frombuffer(text.encode(), np.uint8)]
        number = max(len(residues) - KMER + 1, 0)
        kmers = np.zeros(number, np.int64)
        for i in range(KMER):
            kmers = kmers * len(_LETTERS) + residues[i : i + number]
        kmers_of.append(np.unique(kmers))
    flat = np.concatenate(kmers_of) if kmers_of else np.zeros(0, np.int64)
    protein = np.repeat(np.arange(len(letters)), [len(kmers) for kmers in kmers_of])
    order = np.argsort(flat, kind="stable")
    firsts = np.concatenate([[0], np.cumsum(np.bincount(flat, minlength=kinds))])
    return protein[order], firsts.astype(np.int64), kmers_of
