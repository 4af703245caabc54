from __future__ import annotations

import numpy as np

from biote.splits.homology import all_scores
from biote.splits.kmer_links import similar_pairs

_RESIDUES = list("ACDEFGHIKLMNPQRSTVWY")


def family(rng: np.random.Generator, identity: float, members: int) -> list[str]:
    ancestor = rng.choice(_RESIDUES, int(rng.integers(60, 200)))
    found = []
    for _ in range(members):
        mutant = ancestor.copy()
        changed = rng.random(len(mutant)) > identity
        mutant[changed] = rng.choice(_RESIDUES, int(changed.sum()))
        found.append("".join(mutant[int(rng.integers(0, 5)) :]))
    return found


def test_it_finds_what_aligning_all_pairs_finds() -> None:
    rng = np.random.default_rng(0)
    proteins = [p for identity in (0.95, 0.85, 0.75, 0.7) for p in family(rng, identity, 6)]
    proteins += ["".join(rng.choice(_RESIDUES, 90)) for _ in range(20)]
    proteins += ["MKV", "MKVL", "MKVLA", "MKVLAW", "UUOOACDEFGHIKL", "UUOOACDEFGHIKM"]
    scores = all_scores(proteins)
    wanted = {
        (i, j)
        for i, j in zip(*np.nonzero(np.triu(scores > 1.5, 1)), strict=True)
        if min(len(proteins[i]), len(proteins[j])) > 5
    }
    found = set(similar_pairs(proteins))
    assert len(wanted) > 40
    assert {(i, j) for i, j in found if min(len(proteins[i]), len(proteins[j])) > 5} == wanted
    assert all(scores[i, j] > 1.5 for i, j in found)


def test_progress_ends_at_the_number_of_proteins() -> None:
    told: list[tuple[int, int]] = []
    assert list(similar_pairs(["MKVL", "ACDE"], progress=lambda *a: told.append(a))) == []
    assert told == [(1, 2), (2, 2)]
