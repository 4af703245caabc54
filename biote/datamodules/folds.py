"""Folds of a benchmark at work: made once, written down, loaded and checked by every later run."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from biote.datamodules.base import Row, Split, rows_fingerprint
from biote.errors import ConfigError
from biote.splits import FoldAssignment, assign_folds, load_folds

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
) -> dict[Split, list[Row]]:
    """Split rows by a fold file, which is made if it is not there.

    Args:
        rows: All rows.
        benchmark: Name of the benchmark.
        rule: How rows were grouped.
        fold: Number of the test fold, from 0.
        folds: Number of folds.
        fold_seed: Chooses which groups meet in a fold.
        validation: ``next`` validates on the fold after the test fold, ``none`` trains on it.
        path: Fold file.

    Raises:
        ConfigError: If there is no such fold.
        DataError: If the fold file does not fit the rows.
    """
    if not 0 <= fold < folds:
        raise ConfigError(
            f"fold {fold} of {folds}", where="data.fold", mend=f"give 0 to {folds - 1}"
        )
    fingerprint = rows_fingerprint(rows)
    group_of = {row.id: row.group for row in rows}
    if path.exists():
        assignment = load_folds(path)
        if (assignment.folds, assignment.seed) != (folds, fold_seed):
            raise ConfigError(
                f"{path} holds {assignment.folds} folds of seed {assignment.seed}, not {folds} of "
                f"seed {fold_seed}",
                where="data.fold_file",
                mend="give its numbers as data.folds and data.fold_seed, or another path",
            )
        assignment.check(
            benchmark=benchmark, rule=rule, data_fingerprint=fingerprint, group_of=group_of
        )
    else:
        groups = [row.group for row in rows]
        assignment = FoldAssignment(
            benchmark=benchmark,
            rule=rule,
            seed=fold_seed,
            folds=folds,
            data_fingerprint=fingerprint,
            row_ids=tuple(row.id for row in rows),
            groups=tuple(groups),
            assignment=tuple(assign_folds(groups, folds, seed=fold_seed)),
        )
        assignment.save(path)
        logger.info("%s: %d folds written to %s.", benchmark, folds, path)
    held_out = (fold + 1) % folds if validation == "next" else None
    splits: dict[Split, list[Row]] = {"train": [], "validation": [], "test": []}
    fold_of = assignment.fold_of
    for row in rows:
        number = fold_of[row.id]
        name: Split = "test" if number == fold else "validation" if number == held_out else "train"
        splits[name].append(row)
    return splits
