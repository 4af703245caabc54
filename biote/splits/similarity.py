"""How similar the proteins of a test fold are to those a model may be trained on."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from biote.errors import DataError
from biote.splits.folds import ALWAYS_TRAIN, FoldAssignment
from biote.splits.homology import OnPairs, identity
from biote.splits.score_cache import cached_scores


@dataclass(frozen=True, kw_only=True)
class Nearest:
    """A protein of a test fold and the most similar one outside the fold."""

    fold: int
    row: str
    """First row of the protein in the fold."""
    protein: str
    training_row: str
    """First row of the most similar protein outside the fold."""
    training_protein: str
    score: float
    """BLOSUM62 score per residue of the two."""
    identity: float
    """Share of the longer protein's residues aligned with the same residue of the other."""


def nearest_training_proteins(
    folds: FoldAssignment,
    cache: Path,
    *,
    workers: int | None = None,
    progress: OnPairs | None = None,
) -> list[Nearest]:
    """Find for every protein of every test fold the most similar protein outside the fold.

    Outside are the training and the validation rows. Proteins are compared as they stand in the
    file, whatever groups and clusters it names.

    Args:
        folds: Fold of every row.
        cache: Folder that keeps alignment scores.
        workers: Threads that align; None for one a core.
        progress: Is told pairs aligned and pairs in all.

    Returns:
        One entry a protein and fold, by fold; rows without a single protein have none.

    Raises:
        DataError: If no row has a protein.
    """
    first_row: dict[tuple[str, int], str] = {}
    folds_of: dict[str, set[int]] = defaultdict(set)
    for row, protein, fold in zip(folds.row_ids, folds.proteins, folds.assignment, strict=True):
        if protein is not None:
            first_row.setdefault((protein, fold), row)
            folds_of[protein].add(fold)
    if not folds_of:
        raise DataError(
            "no row with one protein, so that there is nothing to align",
            where=f"folds of {folds.benchmark}",
        )
    proteins = sorted(folds_of)
    scores = cached_scores(proteins, cache, workers=workers, progress=progress)
    found: list[Nearest] = []
    for fold in range(folds.folds):
        outside = [i for i, protein in enumerate(proteins) if folds_of[protein] - {fold}]
        inside = [i for i, protein in enumerate(proteins) if fold in folds_of[protein]]
        if not outside:
            continue
        best = scores[np.ix_(inside, outside)].argmax(axis=1)
        for i, j in zip(inside, (outside[place] for place in best), strict=True):
            others = folds_of[proteins[j]] - {fold}
            found.append(
                Nearest(
                    fold=fold,
                    row=first_row[proteins[i], fold],
                    protein=proteins[i],
                    training_row=first_row[proteins[j], min(others)],
                    training_protein=proteins[j],
                    score=float(scores[i, j]),
                    identity=identity(proteins[i], proteins[j]),
                )
            )
    return found


def refuse_similar(
    folds: FoldAssignment, nearest: list[Nearest], *, threshold: float, where: str
) -> None:
    """Refuse a split that tests a protein similar to one outside its fold.

    Args:
        folds: Fold of every row.
        nearest: What `nearest_training_proteins` gives for them.
        threshold: Proteins with a higher score are similar.
        where: Name of the fold file.

    Raises:
        DataError: Naming the most similar pair and how many there are.
    """
    leaks = [pair for pair in nearest if pair.score > threshold]
    if not leaks:
        return
    worst = max(leaks, key=lambda pair: pair.score)
    sides = "row" if folds.fold_of[worst.training_row] != ALWAYS_TRAIN else "training row"
    raise DataError(
        f"{len(leaks)} test proteins score above {threshold:g} with a protein outside their fold, "
        f"first row {worst.row} of fold {worst.fold} with {sides} {worst.training_row}: "
        f"{worst.score:.2f}",
        where=where,
        mend="make the folds with rule cluster or paper",
    )
