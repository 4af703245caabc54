"""A user's own table of proteins with labels of their residues."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from biote.alignment import Labels
from biote.datamodules.folds import ValidationFold, fold_splits
from biote.datamodules.residue_files import read_table
from biote.datamodules.residue_labels import (
    ResidueRecord,
    letters,
    residue_row,
    value_labels,
)
from biote.datamodules.residues import ResidueDataModule
from biote.datamodules.rows import Row, Split
from biote.errors import ConfigError, DataError
from biote.paths import existing_file
from biote.residue_batch import ResidueKind
from biote.splits.homology import SIMILAR_ABOVE
from biote.splits.rules import Rule

logger = logging.getLogger(__name__)


class ResidueTableDataModule(ResidueDataModule):
    """Rows of a CSV or Parquet file with a sequence and a label for each of its residues.

    Args:
        root: CSV or Parquet file.
        tokenizer: ``character`` or a tokenizer, corpus or encoder folder; null takes that of
            ``model.encoder_checkpoint``.
        sequence: Column of protein sequences.
        label: Column of labels: one letter a residue, or numbers.
        kind: ``classes``, ``binary`` (0 or 1), or ``values``.
        classes: Of classes, the letters of each; several letters of one text are one class.
        unlabelled: Letters that stand for no label.
        batch_size: Rows of an optimiser step.
        name: Name of the benchmark in results.
        unit: Unit of values.
        id_column: Column of unique row ids; null numbers the rows from 0.
        fold: Number of the test fold, from 0.
        fold_file: Where the folds are written once and read ever after.
        folds: Number of folds.
        fold_seed: Chooses which proteins meet in a fold.
        rule: ``protein`` deals whole proteins into folds, ``cluster`` whole clusters of similar
            proteins; ``paper`` holds proteins similar to another one in training.
        threshold: BLOSUM62 score per residue above which proteins are similar.
        validation: ``next`` validates on the fold after the test fold; ``none`` trains on it.
        max_residues: Longer proteins are left out and counted: without trimmed ends, encoders of
            different tokenizers are scored on the same residues.
        context: Most tokens of a row; longer proteins are trimmed at their end and counted.
        seed: Chooses the order of training rows.
        num_workers: Processes that build batches.
    """

    def __init__(
        self,
        root: Path,
        tokenizer: str | None = None,
        *,
        sequence: str,
        label: str,
        kind: ResidueKind,
        classes: list[str] | None = None,
        unlabelled: str = "?",
        batch_size: int,
        name: str = "residue_table",
        unit: str = "",
        id_column: str | None = None,
        fold: int = 0,
        fold_file: Path,
        folds: int = 10,
        fold_seed: int = 0,
        rule: Rule = "protein",
        threshold: float = SIMILAR_ABOVE,
        validation: ValidationFold = "next",
        max_residues: int | None = None,
        context: int = 2048,
        seed: int = 0,
        num_workers: int = 0,
    ) -> None:
        super().__init__(
            tokenizer, context=context, batch_size=batch_size, seed=seed, num_workers=num_workers
        )
        if (kind == "classes") != (classes is not None and len(classes) > 1):
            raise ConfigError(
                f"kind {kind} with classes {classes}",
                where="data.classes",
                mend="name two or more classes by their letters, or leave it out of other kinds",
            )
        self.benchmark = name
        self.unit = unit
        self.residue_kind = kind
        self._alphabet = (
            None if kind == "values" else letters(*(classes or ["0", "1"]), unlabelled=unlabelled)
        )
        self.output_names = (
            self._alphabet.classes if self._alphabet and kind == "classes" else (label,)
        )
        self._root = Path(root)
        self._sequence = sequence
        self._label = label
        self._id_column = id_column
        self._fold = fold
        self._fold_file = Path(fold_file)
        self._folds = folds
        self._fold_seed = fold_seed
        self._rule: Rule = rule
        self._threshold = threshold
        self._validation: ValidationFold = validation
        self._max_residues = max_residues

    @property
    def fold(self) -> int:
        return self._fold

    def read_rows(self) -> dict[Split, list[Row]]:
        existing_file(self._root, where="data.root", mend="give a CSV or Parquet file")
        rows: list[Row] = []
        seen: set[str] = set()
        for record in read_table(
            self._root, sequence=self._sequence, label=self._label, id_column=self._id_column
        ):
            if record.id in seen:
                raise DataError("its id occurs twice", where=record.where)
            seen.add(record.id)
            rows.append(residue_row(record, self._labels(record)))
        if self._max_residues is not None:
            rows = self._without_long(rows, self._max_residues)
        return fold_splits(
            rows,
            benchmark=self.benchmark,
            rule=self._rule,
            threshold=self._threshold,
            progress=self.alignment_progress,
            fold=self._fold,
            folds=self._folds,
            fold_seed=self._fold_seed,
            validation=self._validation,
            path=self._fold_file,
        )

    def _without_long(self, rows: Sequence[Row], most: int) -> list[Row]:
        kept = [row for row in rows if len(row.parts[0][0]) <= most]
        logger.info(
            "%s: %d of %d proteins have more than %d residues and are left out.",
            self.benchmark,
            len(rows) - len(kept),
            len(rows),
            most,
        )
        return kept

    def _labels(self, record: ResidueRecord) -> Labels:
        return self._alphabet.labels(record) if self._alphabet else value_labels(record)
