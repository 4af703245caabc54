"""How alike proteins are: global alignment scores, and the clusters they make.

The score of two proteins is the Needleman-Wunsch score (BLOSUM62; the first residue of a gap
costs 10, every further one 1) divided by the length of the longer protein. Identical proteins
score 5.2 +- 0.15, unrelated ones below 0. Selenocysteine is scored as cysteine and pyrrolysine as
lysine, which they are made from; BLOSUM62 knows neither.

Legend: N sequences, Q queries, R references.

Source: paper, Methods (Delta G): similar proteins are those that score over 1.5.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import parasail

from biote.errors import DataError
from biote.molecules import Molecule, canonical_sequence

SIMILAR_ABOVE: Final = 1.5
"""Proteins with a higher score count as similar, as in the paper."""

GAP_OPEN: Final = 10
"""Cost of the first residue of a gap."""

GAP_EXTEND: Final = 1
"""Cost of every further residue of a gap."""

SCORING: Final = f"BLOSUM62 global, gap {GAP_OPEN} {GAP_EXTEND}, over the longer length, U=C, O=K"
"""What a stored score was made with; another text means other numbers."""

Floats = npt.NDArray[np.float64]
OnPairs = Callable[[int, int], None]
"""Is told the pairs that are done and all there are."""

_MATRIX: Final = parasail.blosum62
_SCORED_AS: Final = str.maketrans("UO", "CK")
_BEST_OF_LETTER: Final = {
    letter: int(_MATRIX.matrix[i, : len("ARNDCQEGHILKMFPSTWYVBZX")].max())
    for i, letter in enumerate("ARNDCQEGHILKMFPSTWYVBZX")
}


@dataclass(frozen=True)
class BestScores:
    """The most similar reference of every query."""

    scores: Floats
    """Its score, (Q,)."""

    references: npt.NDArray[np.int64]
    """Its position among the references, (Q,); the first one if several score the same."""


def all_scores(
    sequences: Sequence[str], *, workers: int | None = None, progress: OnPairs | None = None
) -> Floats:
    """Score every protein against every other and against itself.

    Args:
        sequences: N proteins.
        workers: Threads; None for one a core. The scores do not depend on it.
        progress: Is told pairs done and pairs in all, from the calling thread.

    Returns:
        Scores per residue, symmetric, (N, N); the diagonal holds what identical proteins score.

    Raises:
        DataError: If a sequence is empty or no protein.
    """
    letters = scored_letters(sequences)
    n = len(letters)
    lengths = np.array([len(text) for text in letters], np.float64)
    scores = np.empty((n, n), np.float64)

    def row(i: int) -> int:
        against = _Query(letters[i])
        for j in range(i, n):
            scores[i, j] = scores[j, i] = against.score(letters[j])
        return n - i

    _run(row, range(n), pairs=n * (n + 1) // 2, workers=workers, progress=progress)
    return scores / np.maximum(lengths[:, None], lengths[None, :])


def best_scores(
    queries: Sequence[str],
    references: Sequence[str],
    *,
    workers: int | None = None,
    progress: OnPairs | None = None,
) -> BestScores:
    """Find the reference that every query is most similar to.

    References whose length and composition rule out a better score than the best so far are not
    aligned; the result is the same as with all pairs.

    Args:
        queries: Q proteins.
        references: R proteins.
        workers: Threads; None for one a core.
        progress: Is told pairs done and pairs in all, from the calling thread.

    Raises:
        DataError: If a sequence is empty or no protein, or there is no reference.
    """
    if not references:
        raise DataError("no protein to compare with", where="references")
    asked, others = scored_letters(queries), scored_letters(references)
    bounds = _Bounds(others)
    scores = np.full(len(asked), -np.inf)
    found = np.zeros(len(asked), np.int64)

    def row(i: int) -> int:
        against = _Query(asked[i])
        limits = bounds.of(asked[i])
        for j in np.argsort(-limits, kind="stable"):
            if limits[j] < scores[i]:
                break
            score = against.score(others[j]) / max(len(asked[i]), len(others[j]))
            if score > scores[i] or (score == scores[i] and j < found[i]):
                scores[i], found[i] = score, j
        return len(others)

    pairs = len(asked) * len(others)
    _run(row, range(len(asked)), pairs=pairs, workers=workers, progress=progress)
    return BestScores(scores, found)


def clusters(scores: Floats, threshold: float = SIMILAR_ABOVE) -> list[int]:
    """Cluster by single linkage: two proteins above the threshold are in one cluster.

    Args:
        scores: What `all_scores` gives, (N, N).
        threshold: Proteins with a higher score are linked.

    Returns:
        Cluster of every protein, numbered from 0 in the order of their first members.
    """
    first, second = np.nonzero(np.triu(scores > threshold, k=1))
    return linked(len(scores), zip(first.tolist(), second.tolist(), strict=True))


def cluster_sequences(
    sequences: Sequence[str],
    threshold: float = SIMILAR_ABOVE,
    *,
    workers: int | None = None,
    progress: OnPairs | None = None,
) -> list[int]:
    """Cluster proteins too many for a matrix of all their scores.

    Pairs whose lengths and compositions rule out a score above the threshold are not aligned; the
    clusters are those of `clusters`.

    Args:
        sequences: N proteins.
        threshold: Proteins with a higher score are linked.
        workers: Threads; None for one a core.
        progress: Is told pairs done and pairs in all, from the calling thread.

    Raises:
        DataError: If a sequence is empty or no protein.
    """
    links = links_of(
        sequences, range(len(sequences)), threshold, workers=workers, progress=progress
    )
    return linked(len(sequences), links)


def links_of(
    sequences: Sequence[str],
    chosen: Sequence[int],
    threshold: float = SIMILAR_ABOVE,
    *,
    workers: int | None = None,
    progress: OnPairs | None = None,
) -> list[tuple[int, int]]:
    """Find every protein that scores above a threshold with one of some proteins.

    Pairs whose lengths and compositions rule that out are not aligned.

    Args:
        sequences: N proteins.
        chosen: Positions of those whose links are wanted, each once.
        threshold: Score above which two proteins are linked.
        workers: Threads; None for one a core.
        progress: Is told pairs done and pairs in all, from the calling thread.

    Returns:
        Positions of two linked proteins, the first a chosen one; each pair once, in no order.

    Raises:
        DataError: If a sequence is empty or no protein.
    """
    letters = scored_letters(sequences)
    bounds = _Bounds(letters)
    turn = np.full(len(letters), len(chosen), np.int64)  # a pair of two chosen ones has one turn
    turn[list(chosen)] = np.arange(len(chosen))
    links: list[tuple[int, int]] = []

    def row(i: int) -> int:
        against = _Query(letters[i])
        later = turn > turn[i]
        for j in np.flatnonzero(later & (bounds.of(letters[i]) > threshold)).tolist():
            longer = max(len(letters[i]), len(letters[j]))
            if against.score(letters[j]) / longer > threshold:
                links.append((i, j))
        return int(later.sum())

    others = len(letters) - len(chosen)
    pairs = len(chosen) * (len(chosen) - 1) // 2 + len(chosen) * others
    _run(row, chosen, pairs=pairs, workers=workers, progress=progress)
    return links


def has_neighbour(scores: Floats, threshold: float = SIMILAR_ABOVE) -> npt.NDArray[np.bool_]:
    """Which proteins score above a threshold with another one, (N,).

    Args:
        scores: What `all_scores` gives, (N, N).
        threshold: Score above which proteins are neighbours.
    """
    above = scores > threshold
    np.fill_diagonal(above, False)
    return np.asarray(above.any(axis=1))


def linked(number: int, links: Iterable[tuple[int, int]]) -> list[int]:
    """Join what is linked, directly or through others.

    Args:
        number: How many things there are.
        links: Pairs of positions.

    Returns:
        Cluster of each, numbered from 0 in the order of their first members.
    """
    parent = list(range(number))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for first, second in links:
        parent[root(first)] = root(second)
    labels: dict[int, int] = {}
    return [labels.setdefault(root(i), len(labels)) for i in range(number)]


def identity(first: str, second: str) -> float:
    """Share of the longer protein's residues that align with the same residue of the other.

    Args:
        first: A protein.
        second: A protein.

    Raises:
        DataError: If a sequence is empty or no protein.
    """
    a, b = scored_letters([first, second])
    result = parasail.nw_stats_striped_32(a, b, GAP_OPEN, GAP_EXTEND, _MATRIX)
    return float(result.matches) / max(len(a), len(b))


class _Query:
    """A protein prepared to be aligned with many."""

    def __init__(self, letters: str) -> None:
        self._letters = letters
        self._profile = parasail.profile_create_16(letters, _MATRIX)

    def score(self, other: str) -> int:
        result = parasail.nw_striped_profile_16(self._profile, other, GAP_OPEN, GAP_EXTEND)
        if result.saturated:  # beyond 16 bits: very long proteins
            result = parasail.nw_striped_32(self._letters, other, GAP_OPEN, GAP_EXTEND, _MATRIX)
        return int(result.score)


class _Bounds:
    """Most that proteins can score with a query, without aligning them."""

    def __init__(self, letters: Sequence[str]) -> None:
        self._lengths = np.array([len(text) for text in letters], np.float64)
        self._best = np.array([_most(text) for text in letters], np.float64)

    def of(self, letters: str) -> Floats:
        """Upper limits of the scores with a query, (N,)."""
        # Residues that are not aligned add nothing, aligned ones at most their row's maximum, and
        # the difference in length is at the very least one gap.
        difference = np.abs(self._lengths - len(letters))
        gap = np.where(difference > 0, GAP_OPEN + GAP_EXTEND * (difference - 1), 0)
        longer = np.maximum(self._lengths, len(letters))
        return np.asarray((np.minimum(self._best, _most(letters)) - gap) / longer)


def _most(letters: str) -> int:
    return sum(_BEST_OF_LETTER[letter] for letter in letters)


def scored_letters(sequences: Sequence[str]) -> list[str]:
    """Proteins in the letters that BLOSUM62 has.

    Args:
        sequences: N proteins.

    Raises:
        DataError: If a sequence is empty or no protein.
    """
    letters = []
    for number, sequence in enumerate(sequences):
        where = f"protein {number}"
        text = canonical_sequence(sequence, Molecule.PROTEIN, record=where)
        if not text:
            raise DataError("no residue to align", where=where, mend="drop the empty sequence")
        letters.append(text.translate(_SCORED_AS))
    return letters


def _run(
    row: Callable[[int], int],
    rows: Sequence[int],
    *,
    pairs: int,
    workers: int | None,
    progress: OnPairs | None,
) -> None:
    """Do the rows on threads: parasail aligns without the interpreter's lock."""
    threads = workers or len(os.sched_getaffinity(0))
    with ThreadPoolExecutor(max_workers=threads) as pool:
        done = 0
        for number in _until_failure(pool, row, rows):
            done += number
            if progress is not None:
                progress(done, pairs)


def _until_failure(
    pool: ThreadPoolExecutor, row: Callable[[int], int], rows: Sequence[int]
) -> Iterator[int]:
    try:
        yield from pool.map(row, rows)
    except BaseException:
        pool.shutdown(cancel_futures=True)
        raise
