"""Which complexes a comparison is made on, and which of them stand and fall together."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from biote.datamodules.jaspar.homology import similarity, training_proteins
from biote.errors import DataError
from biote.paths import existing_file
from biote.splits import load_folds
from biote.splits.containment import contained_scores
from biote.splits.homology import OnPairs, clusters
from biote.splits.score_cache import CACHE_FOLDER, cached_scores

logger = logging.getLogger(__name__)

ALL_COMPLEXES: Final = "all complexes"
NOT_SIMILAR: Final = "no similar protein"
NOT_CONTAINED: Final = "no similar part"
_SCORES_FILE: Final = "similarity.parquet"


@dataclass(frozen=True)
class Proteins:
    """The proteins of a benchmark's rows."""

    of_row: Mapping[str, str]
    """Protein of every row."""

    unit_of: Mapping[str, str]
    """Cluster of similar proteins of every row, named after its first row."""


def read_proteins(
    fold_file: Path,
    *,
    data_fingerprint: str,
    threshold: float,
    progress: OnPairs | None = None,
) -> Proteins:
    """Read the proteins of a fold file and cluster them, whatever rule the folds were made by.

    Args:
        fold_file: Fold file of the runs; alignment scores are kept in a folder beside it.
        data_fingerprint: That of the runs' data.
        threshold: Proteins with a higher score are similar.
        progress: Is told pairs aligned and pairs in all.

    Raises:
        DataError: If there is no such file, it is of other data, or a row has no single protein.
    """
    existing_file(fold_file, where="--fold-file", mend="name the fold file of the runs")
    folds = load_folds(fold_file)
    if folds.data_fingerprint != data_fingerprint:
        raise DataError(
            "it is of other data than the runs",
            where=str(fold_file),
            mend="name the fold file of the runs with --fold-file",
        )
    of_row: dict[str, str] = {}
    for row, protein in zip(folds.row_ids, folds.proteins, strict=True):
        if protein is None:
            raise DataError("not one protein", where=f"{fold_file}, row {row}")
        of_row[row] = protein
    distinct = sorted(set(of_row.values()))
    scores = cached_scores(distinct, fold_file.parent / CACHE_FOLDER, progress=progress)
    number = dict(zip(distinct, clusters(scores, threshold), strict=True))
    names: dict[int, str] = {}
    for row in sorted(of_row):
        names.setdefault(number[of_row[row]], row)
    return Proteins(of_row, {row: names[number[protein]] for row, protein in of_row.items()})


def subsets(
    proteins: Proteins, *, tuned_on: Path | None, threshold: float, output: Path,
    progress: OnPairs | None = None,
) -> dict[str, set[str]]:  # fmt: skip
    """Rows of every subset that is compared.

    Args:
        proteins: Proteins of all rows.
        tuned_on: What the tuned encoder has seen: the ProNAB file, its folder, or FASTA; null
            for all complexes alone.
        threshold: Proteins with a higher score are similar.
        output: Folder that keeps the scores.
        progress: Is told pairs aligned and pairs in all.

    Returns:
        All complexes; those without a protein that is similar from end to end; and of these, those
        no part of whose protein is similar to a part of one.

    Raises:
        DataError: If the proteins cannot be read.
    """
    found = {ALL_COMPLEXES: set(proteins.of_row)}
    if tuned_on is None:
        return found
    references = training_proteins(tuned_on, where="--exclude-similar-to")
    distinct = sorted(set(proteins.of_row.values()))
    whole = similarity(distinct, references, cache=output / _SCORES_FILE, progress=progress)
    parts = dict(zip(distinct, contained_scores(distinct, references), strict=True))
    rows = proteins.of_row.items()
    found[NOT_SIMILAR] = {row for row, protein in rows if whole[protein] <= threshold}
    found[NOT_CONTAINED] = {
        row for row in found[NOT_SIMILAR] if parts[proteins.of_row[row]] <= threshold
    }
    logger.info(
        "Of %d complexes %d have no similar protein among %d, %d of them no similar part.",
        len(proteins.of_row),
        len(found[NOT_SIMILAR]),
        len(references),
        len(found[NOT_CONTAINED]),
    )
    return found
