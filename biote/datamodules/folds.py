"""Folds of a benchmark at work: made once, written down, loaded and checked by every later run."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from biote.datamodules.rows import Row, Split, rows_fingerprint
from biote.errors import ConfigError
from biote.molecules import Molecule
from biote.splits import FoldAssignment, assign_folds, load_folds
from biote.splits.homology import SIMILAR_ABOVE, OnPairs
from biote.splits.rules import Dealt, HomologyRule, deal_by_homology
from biote.splits.score_cache import CACHE_FOLDER

logger = logging.getLogger(__name__)

ValidationFold = Literal["next", "none"]


def fold_splits(
    rows: Sequence[Row],
    *,
    benchmark: str,
    rule: str,
    fold: int,
    folds: int,
    fold_seed: int,
    validation: ValidationFold,
    path: Path,
    threshold: float = SIMILAR_ABOVE,
    progress: OnPairs | None = None,
) -> dict[Split, list[Row]]:
    """Split rows by a fold file, which is made if it is not there.

    Rules ``cluster`` and ``paper`` align the rows' proteins (see `biote.splits.rules`); any other
    is a name for how the rows were grouped. Rows that no fold tests are training rows.

    Args:
        rows: All rows.
        benchmark: Name of the benchmark.
        rule: How rows are kept together.
        fold: Number of the test fold, from 0.
        folds: Number of folds.
        fold_seed: Chooses which groups meet in a fold.
        validation: ``next`` validates on the fold after the test fold, ``none`` trains on it.
        path: Fold file. Alignment scores are kept in a folder beside it.
        threshold: Proteins with a higher score are similar, for the rules that align them.
        progress: Is told pairs aligned and pairs in all.

    Raises:
        ConfigError: If there is no such fold, or a rule needs proteins that rows lack.
        DataError: If the fold file does not fit the rows.
    """
    if not 0 <= fold < folds:
        raise ConfigError(
            f"fold {fold} of {folds}", where="data.fold", mend=f"give 0 to {folds - 1}"
        )
    homology: HomologyRule | None = (
        "paper" if rule == "paper" else "cluster" if rule == "cluster" else None
    )
    fingerprint = rows_fingerprint(rows)
    groups = [row.group for row in rows]
    proteins = [_protein(row, needed_by=homology) for row in rows]
    if path.exists():
        assignment = load_folds(path)
        if (assignment.folds, assignment.seed) != (folds, fold_seed):
            raise ConfigError(
                f"{path} holds {assignment.folds} folds of seed {assignment.seed}, not {folds} of "
                f"seed {fold_seed}",
                where="data.fold_file",
                mend="give its numbers as data.folds and data.fold_seed, or another path",
            )
        ids = [row.id for row in rows]
        assignment.check(
            benchmark=benchmark,
            rule=rule,
            threshold=threshold if homology else None,
            data_fingerprint=fingerprint,
            group_of=dict(zip(ids, groups, strict=True)),
            protein_of=dict(zip(ids, proteins, strict=True)),
        )
    else:
        if homology is not None:
            dealt = deal_by_homology(
                groups,
                [protein for protein in proteins if protein is not None],
                folds,
                rule=homology,
                threshold=threshold,
                seed=fold_seed,
                cache=path.parent / CACHE_FOLDER,
                progress=progress,
            )
        else:
            dealt = Dealt(tuple(groups), tuple(assign_folds(groups, folds, seed=fold_seed)))
        assignment = FoldAssignment(
            benchmark=benchmark,
            rule=rule,
            threshold=threshold if homology else None,
            seed=fold_seed,
            folds=folds,
            data_fingerprint=fingerprint,
            row_ids=tuple(row.id for row in rows),
            groups=tuple(groups),
            clusters=dealt.clusters,
            proteins=tuple(proteins),
            assignment=dealt.folds,
        )
        assignment.save(path)
        logger.info("%s: %d folds by %s written to a fold file.", benchmark, folds, rule)
    held_out = (fold + 1) % folds if validation == "next" else None
    splits: dict[Split, list[Row]] = {"train": [], "validation": [], "test": []}
    fold_of = assignment.fold_of
    cluster_of = dict(zip(assignment.row_ids, assignment.clusters, strict=True))
    for row in rows:
        number = fold_of[row.id]
        name: Split = "test" if number == fold else "validation" if number == held_out else "train"
        splits[name].append(replace(row, cluster=cluster_of[row.id]))
    return splits


def _protein(row: Row, *, needed_by: str | None) -> str | None:
    """The one protein of a row; None if it has none or several."""
    found = [sequence for sequence, molecule in row.parts if molecule is Molecule.PROTEIN]
    if len(found) == 1:
        return found[0]
    if needed_by is not None:
        raise ConfigError(
            f"rule {needed_by} compares proteins, of which row {row.id} has {len(found)}",
            where="data.rule",
            mend="use it where every row has one protein, or group by a column",
        )
    return None
