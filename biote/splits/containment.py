"""Which proteins are part of another one, or hold one.

A structure often holds one domain of a protein. Scored from end to end, over the longer length,
the domain and the whole protein are not similar (see `biote.splits.homology`); the best local
alignment, over the length of the shorter one, finds them.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import parasail

from biote.errors import DataError
from biote.splits.homology import GAP_EXTEND, GAP_OPEN, Floats, OnPairs, scored_letters


def contained_scores(
    queries: Sequence[str],
    references: Sequence[str],
    *,
    workers: int | None = None,
    progress: OnPairs | None = None,
) -> Floats:
    """Best local alignment of every protein with any reference, over the length of the shorter.

    Smith-Waterman with BLOSUM62 and the gap costs of `biote.splits.homology`. A protein that is
    part of a reference, or that a reference is part of, scores about 5.2; where one of the two is
    very short, as peptides are, the score is high by chance.

    Args:
        queries: Q proteins.
        references: Proteins they are compared with.
        workers: Threads; None for one a core.
        progress: Is told pairs done and pairs in all, from the calling thread.

    Returns:
        Score per residue, (Q,).

    Raises:
        DataError: If a sequence is empty or no protein, or there is no reference.
    """
    if not references:
        raise DataError("no protein to compare with", where="references")
    asked, others = scored_letters(queries), scored_letters(references)

    def best(letters: str) -> float:
        profile = parasail.profile_create_16(letters, parasail.blosum62)
        scores = []
        for other in others:
            result = parasail.sw_striped_profile_16(profile, other, GAP_OPEN, GAP_EXTEND)
            if result.saturated:  # beyond 16 bits: very long proteins
                result = parasail.sw_striped_32(
                    letters, other, GAP_OPEN, GAP_EXTEND, parasail.blosum62
                )
            scores.append(int(result.score) / min(len(letters), len(other)))
        return max(scores)

    found: list[float] = []
    with ThreadPoolExecutor(workers or len(os.sched_getaffinity(0))) as pool:
        for score in pool.map(best, asked):
            found.append(score)
            if progress is not None:
                progress(len(found) * len(others), len(asked) * len(others))
    return np.array(found, np.float64)
