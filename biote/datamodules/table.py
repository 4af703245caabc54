"""A user's own table: named sequence and label columns of a CSV or Parquet file."""

from __future__ import annotations

import hashlib
import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl

from biote.datamodules.base import LabelledDataModule
from biote.datamodules.folds import ValidationFold, fold_splits
from biote.datamodules.rows import SPLITS, Row, Split, TargetKind
from biote.errors import ConfigError, DataError
from biote.frames import read_frame
from biote.molecules import canonical_sequence, parse_molecule
from biote.paths import existing_file
from biote.splits.homology import SIMILAR_ABOVE

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class SequenceColumn:
    """One sequence of every row."""

    column: str
    """Name of the column."""

    molecule: str
    """Molecule type of its sequences, for example protein, DNA or RNA."""

    optional: bool = False
    """Whether an empty cell means that the row has no such sequence (a second strand, say)."""


class TableDataModule(LabelledDataModule):
    """Rows of a CSV or Parquet file, for any sequence or pair task.

    The sequences of a row are packed into one attention group in the order of ``sequences``.
    Without a split column, rows are dealt into folds of whole groups.

    Args:
        root: CSV or Parquet file.
        tokenizer: ``character`` or a tokenizer, corpus or encoder folder; null takes that of
            ``model.encoder_checkpoint``.
        sequences: Sequence columns and their molecule types.
        labels: Label columns: numbers for regression, one column of classes for classification.
        kind: Whether labels are numbers or classes. Classes are numbered in sorted order of
            their names (numbers in numerical order).
        batch_size: Rows of an optimiser step.
        name: Name of the benchmark in results.
        unit: Unit of the labels.
        id_column: Column of unique row ids; null numbers the rows from 0.
        group_column: Rows with the same value stand on one side of every split; null groups by
            the first sequence column.
        split_column: Column of ``train``, ``validation`` and ``test``; null makes folds.
        fold: Number of the test fold, from 0.
        folds: Number of folds.
        fold_seed: Chooses which groups meet in a fold.
        rule: ``group`` deals whole groups into folds, ``cluster`` whole clusters of groups with
            similar proteins; ``paper`` holds groups with a protein similar to another one in the
            training part of every fold. The last two need one protein in every row.
        threshold: BLOSUM62 score per residue above which proteins are similar.
        fold_file: Where the folds are written once and read ever after.
        validation: ``next`` validates on the fold after the test fold; ``none`` trains on it.
        context: Most tokens of a row; proteins are trimmed to fit, nucleic acids never.
        seed: Chooses the order of training rows.
        num_workers: Processes that build batches.
        nucleic_tokenizer: Tokenizer of the nucleic acids where a second encoder reads them; null
            takes that of ``model.nucleic_encoder.encoder_checkpoint``, if there is one.
    """

    def __init__(
        self,
        root: Path,
        tokenizer: str | None = None,
        *,
        sequences: list[SequenceColumn],
        labels: list[str],
        kind: TargetKind,
        batch_size: int,
        name: str = "table",
        unit: str = "",
        id_column: str | None = None,
        group_column: str | None = None,
        split_column: str | None = None,
        fold: int = 0,
        folds: int = 10,
        fold_seed: int = 0,
        rule: Literal["group", "paper", "cluster"] = "group",
        threshold: float = SIMILAR_ABOVE,
        fold_file: Path | None = None,
        validation: ValidationFold = "next",
        context: int = 2048,
        seed: int = 0,
        num_workers: int = 0,
        nucleic_tokenizer: str | None = None,
    ) -> None:
        super().__init__(
            tokenizer,
            context=context,
            batch_size=batch_size,
            seed=seed,
            num_workers=num_workers,
            nucleic_tokenizer=nucleic_tokenizer,
        )
        if not sequences or not labels:
            raise ConfigError(
                "no sequence or no label column", where="data", mend="name at least one of each"
            )
        if kind == "classification" and len(labels) != 1:
            raise ConfigError(
                f"{len(labels)} label columns", where="data.labels", mend="classes need exactly one"
            )
        if split_column is None and fold_file is None:
            raise ConfigError(
                "neither a split column nor a fold file",
                where="data",
                mend="set data.split_column, or data.fold_file to where folds are to be kept",
            )
        self.benchmark = name
        self.unit = unit
        self.target_kind = kind
        self._root = Path(root)
        self._sequences = [(c, parse_molecule(c.molecule)) for c in sequences]
        self._labels = labels
        self._id_column = id_column
        self._group_column = group_column
        self._split_column = split_column
        self._fold = fold
        self._folds = folds
        self._fold_seed = fold_seed
        self._rule = rule
        self._threshold = threshold
        self._fold_file = Path(fold_file) if fold_file is not None else None
        self._validation: ValidationFold = validation
        self._frame: pl.DataFrame | None = None
        self._classes: list[str] | None = None

    @property
    def n_outputs(self) -> int:
        return len(self.classes) if self.target_kind == "classification" else len(self._labels)

    @property
    def fold(self) -> int | None:
        return None if self._split_column is not None else self._fold

    @property
    def classes(self) -> list[str]:
        """Names of the classes in the order of their indices; none for regression."""
        if self.target_kind == "regression":
            return []
        if self._classes is None:
            column = self.frame[self._labels[0]]
            self._refuse_empty(column)
            self._classes = [str(value) for value in column.unique().sort().to_list()]
        return self._classes

    @property
    def frame(self) -> pl.DataFrame:
        """The file as a table.

        Raises:
            DataError: If it cannot be read or lacks a column.
        """
        if self._frame is None:
            self._frame = self._read()
        return self._frame

    def _read(self) -> pl.DataFrame:
        path = existing_file(self._root, where="data.root", mend="give a CSV or Parquet file")
        sequences = [column.column for column, _ in self._sequences]
        others = (self._id_column, self._group_column, self._split_column)
        named = [*sequences, *self._labels, *(name for name in others if name)]
        return read_frame(path, columns=named, text=sequences)

    def _refuse_empty(self, column: pl.Series) -> None:
        empty = column.is_null() | (column.cast(pl.String).fill_null("") == "")
        if empty.any():
            row = empty.arg_max()
            raise DataError(
                f"no value in column {column.name!r}",
                where=f"{self._root}, row {row}",
                mend="fill it in or drop the row",
            )

    def read_rows(self) -> dict[Split, list[Row]]:
        frame = self.frame
        for name in [*self._labels, self._id_column, self._group_column, self._split_column]:
            if name is not None:
                self._refuse_empty(frame[name])
        rows = [self._row(i, values) for i, values in enumerate(frame.iter_rows(named=True))]
        seen: set[str] = set()
        for row in rows:
            if row.id in seen:
                raise DataError(f"row id {row.id!r} occurs twice", where=str(self._root))
            seen.add(row.id)
        if self._split_column is not None:
            return self._by_column(rows, frame[self._split_column].cast(pl.String).to_list())
        assert self._fold_file is not None
        return fold_splits(
            rows,
            benchmark=self.benchmark,
            rule=self._fold_rule,
            threshold=self._threshold,
            progress=self.alignment_progress,
            fold=self._fold,
            folds=self._folds,
            fold_seed=self._fold_seed,
            validation=self._validation,
            path=self._fold_file,
        )

    @property
    def _fold_rule(self) -> str:
        if self._rule != "group":
            return self._rule
        if self._group_column is not None:
            return f"column {self._group_column}"
        return f"exact {self._sequences[0][0].column}"

    def _row(self, number: int, values: dict[str, object]) -> Row:
        row_id = str(values[self._id_column]) if self._id_column else str(number)
        where = f"{self._root}, row {row_id}"
        parts = []
        for column, molecule in self._sequences:
            text = values[column.column]
            if text is None or text == "":
                if column.optional:
                    continue
                raise DataError(
                    f"no sequence in column {column.column!r}",
                    where=where,
                    mend="fill it in, drop the row, or set optional: true for the column",
                )
            parts.append((canonical_sequence(str(text), molecule, record=where), molecule))
        if not parts:
            raise DataError("no sequence at all", where=where, mend="drop the row")
        group = str(values[self._group_column]) if self._group_column else parts[0][0]
        return Row(
            id=row_id,
            parts=tuple(parts),
            target=self._target(values, where),
            group=hashlib.sha256(group.encode()).hexdigest()[:16],
        )

    def _target(self, values: dict[str, object], where: str) -> tuple[float, ...]:
        if self.target_kind == "classification":
            return (self.classes.index(str(values[self._labels[0]])),)
        numbers = []
        for label in self._labels:
            try:
                number = float(values[label])  # type: ignore[arg-type]
            except (TypeError, ValueError):
                number = math.nan
            if not math.isfinite(number):
                raise DataError(
                    f"label {values[label]!r} in column {label!r} is no finite number",
                    where=where,
                    mend="correct it or drop the row; classes need kind: classification",
                )
            numbers.append(number)
        return tuple(numbers)

    def _by_column(self, rows: list[Row], names: list[str]) -> dict[Split, list[Row]]:
        splits: dict[Split, list[Row]] = {split: [] for split in SPLITS}
        for row, name in zip(rows, names, strict=True):
            split = next((split for split in SPLITS if split == name), None)
            if split is None:
                raise DataError(
                    f"split {name!r}",
                    where=f"{self._root}, row {row.id}",
                    mend=f"column {self._split_column!r} may hold {', '.join(SPLITS)}",
                )
            splits[split].append(row)
        return splits
