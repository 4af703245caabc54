"""Benchmarks with a published split: their tables, and sequences that stand in several splits."""

from __future__ import annotations

import csv
import hashlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from biote.datamodules.rows import SPLITS, Row, Split
from biote.errors import ConfigError, DataError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Record:
    """One labelled sequence of a file, as it stands there."""

    where: str
    """File and line or entry, for error messages."""

    number: int
    """Line or entry, which makes the row id."""

    sequence: str
    label: str


def sequence_group(sequence: str) -> str:
    """Group of a row: rows with the same canonical sequence are one group.

    Args:
        sequence: Canonical sequence.
    """
    return hashlib.sha256(sequence.encode()).hexdigest()[:16]


def find_folder(root: Path, *below: str, holding: str) -> Path:
    """The folder of a benchmark, from whichever of its parents the user named.

    Args:
        root: Folder the user gave.
        below: Folders from the outermost in; ``root`` may be the parent of the first, the first
            itself, and so on to the last.
        holding: What the innermost folder holds, as a glob pattern.

    Returns:
        The innermost folder that holds it; where none does, the one it belongs in.
    """
    candidates = [root.joinpath(*below[i:]) for i in range(len(below) + 1)]
    return next((path for path in candidates if any(path.glob(holding))), candidates[0])


def missing_data(path: Path, *, root: Path, dataset: str) -> DataError:
    """The error for a public file that is not there: what fetches it and where it belongs.

    Args:
        path: The file.
        root: Folder the user gave as ``data.root``.
        dataset: Name for ``biote download``.
    """
    return DataError(
        f"no file {path}",
        where="data.root",
        mend=f"it comes with: biote download {dataset} --output {root}",
    )


def read_labelled_csv(path: Path, *, sequence_column: str, label_column: str) -> Iterable[Record]:
    """Read a CSV file of sequences with one label each.

    Args:
        path: CSV file with a header.
        sequence_column: Name of the column of sequences.
        label_column: Name of the column of labels.

    Yields:
        Its records, labels as they are written.

    Raises:
        DataError: If a column is missing, or a line has another number of fields than the header.
    """
    with path.open(newline="", encoding="utf-8-sig") as stream:
        reader = csv.reader(stream)
        try:
            header = [name.strip() for name in next(reader, [])]
            for column in (sequence_column, label_column):
                if header.count(column) != 1:
                    raise DataError(
                        f"no column {column!r} among {', '.join(header) or 'none'}",
                        where=f"{path}:1",
                        mend=f"the header is {sequence_column},{label_column}",
                    )
            at, label = header.index(sequence_column), header.index(label_column)
            for fields in reader:
                where = f"{path}:{reader.line_num}"
                if not fields:
                    continue
                if len(fields) != len(header):
                    raise DataError(
                        f"{len(fields)} fields, the header has {len(header)}",
                        where=where,
                        mend="correct the line, or fetch the file anew",
                    )
                yield Record(where, reader.line_num, fields[at].strip(), fields[label].strip())
        except (csv.Error, UnicodeDecodeError) as error:
            raise DataError(
                f"not a CSV file ({error})", where=str(path), mend="fetch the file anew"
            ) from error


def class_label(record: Record, n_classes: int) -> tuple[float, ...]:
    """The class index of a record.

    Args:
        record: Labelled sequence.
        n_classes: Number of classes of the task.

    Raises:
        DataError: If its label is no class.
    """
    if record.label.isdecimal() and record.label.isascii() and int(record.label) < n_classes:
        return (int(record.label),)
    raise DataError(
        f"label {record.label!r} is no class",
        where=record.where,
        mend=f"classes are the whole numbers 0 to {n_classes - 1}: correct it or drop the line",
    )


@dataclass(frozen=True, kw_only=True)
class LeakReport:
    """Sequences that occur more than once in a published split."""

    repeated: Mapping[Split, int]
    """Rows whose sequence stands earlier in the same split."""

    contradicting: int
    """Training sequences that occur with more than one label."""

    shared: Mapping[tuple[Split, Split], int]
    """Rows of the second split whose sequence is also in the first."""

    def lines(self) -> list[str]:
        """What there is to say, a line for each kind; none where nothing repeats."""
        said = [
            f"{count} {split} rows repeat a sequence of the same split"
            for split, count in self.repeated.items()
            if count
        ]
        if self.contradicting:
            said.append(f"{self.contradicting} train sequences have more than one label")
        return said + [
            f"{count} {second} rows have a sequence that is also in {first}"
            for (first, second), count in self.shared.items()
            if count
        ]


def count_leaks(rows: Mapping[Split, Sequence[Row]]) -> LeakReport:
    """Count sequences that repeat within a split and across splits.

    Args:
        rows: Rows of every split.
    """
    groups = {split: {row.group for row in rows[split]} for split in SPLITS}
    labels: dict[str, set[object]] = {}
    for row in rows["train"]:
        labels.setdefault(row.group, set()).add(row.answer)
    pairs: list[tuple[Split, Split]] = [*pairwise(SPLITS), ("train", "test")]
    return LeakReport(
        repeated={split: len(rows[split]) - len(groups[split]) for split in SPLITS},
        contradicting=sum(len(values) > 1 for values in labels.values()),
        shared={
            (first, second): sum(row.group in groups[first] for row in rows[second])
            for first, second in pairs
        },
    )


def settle_published_leaks(
    rows: Mapping[Split, list[Row]], *, benchmark: str, drop: bool, held_out: Iterable[Row] = ()
) -> dict[Split, list[Row]]:
    """Report the leaks of a published split and keep it as it is, or make it clean.

    Args:
        rows: Rows of every split.
        benchmark: Name for the log.
        drop: Whether training rows lose what is in validation or test, and validation rows what
            is in test. The test rows are never touched, so that scores stay on the published
            ones.
        held_out: Further rows to be kept out of training and validation, of other test sets.

    Returns:
        Rows to work with.

    Raises:
        ConfigError: If nothing is left to train on.
    """
    for line in count_leaks(rows).lines():
        logger.info("%s: %s.", benchmark, line)
    if not drop:
        return {split: list(rows[split]) for split in SPLITS}
    tested = {row.group for row in rows["test"]} | {row.group for row in held_out}
    validation = [row for row in rows["validation"] if row.group not in tested]
    away = tested | {row.group for row in validation}
    train = [row for row in rows["train"] if row.group not in away]
    logger.info(
        "%s: %d train and %d validation rows dropped as leaks.",
        benchmark,
        len(rows["train"]) - len(train),
        len(rows["validation"]) - len(validation),
    )
    if not train:
        raise ConfigError(
            "every training sequence is also validated or tested on",
            where="data.drop_leaks",
            mend="set it to false, or check that the files are those of different splits",
        )
    return {"train": train, "validation": validation, "test": list(rows["test"])}
