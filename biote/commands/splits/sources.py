"""Where the rows of a fold file come from: ProNAB, a table or a FASTA file of proteins."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from biote.corpora.fasta import read_fasta
from biote.corpora.records import BadRecord
from biote.datamodules.folds import fold_splits
from biote.datamodules.pronab import Duplicates, EmptyFirstStrand, PronabDataModule
from biote.datamodules.rows import Row, TargetKind
from biote.datamodules.table import SequenceColumn, TableDataModule
from biote.errors import ConfigError, DataError
from biote.frames import need_columns
from biote.molecules import Molecule, canonical_sequence, parse_molecule
from biote.splits.homology import OnPairs
from biote.splits.rules import Rule

_FASTA: Final = (".fa", ".faa", ".fasta")
_TABLES: Final = (".csv", ".parquet")


@dataclass(frozen=True, kw_only=True)
class FoldSettings:
    """What folds are asked for."""

    rule: Rule
    threshold: float
    folds: int
    seed: int
    output: Path


@dataclass(frozen=True, kw_only=True)
class TableSettings:
    """What a table's columns are."""

    sequences: tuple[str, ...]
    """Sequence columns as ``name:molecule``."""
    labels: tuple[str, ...]
    kind: TargetKind
    name: str
    id_column: str | None
    group_column: str | None


@dataclass(frozen=True, kw_only=True)
class PronabSettings:
    """Which rows of ProNAB count."""

    duplicates: Duplicates
    empty_first_strand: EmptyFirstStrand


def make_folds(
    source: Path,
    settings: FoldSettings,
    *,
    table: TableSettings,
    pronab: PronabSettings,
    progress: OnPairs | None = None,
) -> None:
    """Write the fold file of a source.

    ProNAB and tables are read as a training run reads them, so that it takes the file.

    Args:
        source: ProNAB's JSON file or the folder that holds it, a CSV or Parquet table, or a FASTA
            file of proteins, plain or gzip.
        settings: Rule and number of folds.
        table: Columns, for a table.
        pronab: Choice of rows, for ProNAB.
        progress: Is told pairs aligned and pairs in all.

    Raises:
        BioteError: If the source cannot be read, or its rows cannot be dealt.
    """
    name = source.name.removesuffix(".gz")
    if not source.exists():
        raise DataError(f"no file {source}", where="SOURCE", mend="check the path")
    if source.is_dir() or name.endswith(".json"):
        _pronab(source, settings, pronab, progress)
    elif name.endswith(_TABLES):
        _table(source, settings, table, progress)
    elif name.endswith(_FASTA):
        _plain(_fasta_rows(source), settings, benchmark=name.rpartition(".")[0], progress=progress)
    else:
        raise DataError(
            f"ending of {source.name!r}",
            where="SOURCE",
            mend=f"give ProNAB's .json, {', '.join(_TABLES)}, or {', '.join(_FASTA)} (also .gz)",
        )


def _pronab(
    source: Path, settings: FoldSettings, pronab: PronabSettings, progress: OnPairs | None
) -> None:
    module = PronabDataModule(
        source,
        "character",
        batch_size=1,
        fold=0,
        fold_file=settings.output,
        folds=settings.folds,
        fold_seed=settings.seed,
        rule=settings.rule,
        threshold=settings.threshold,
        duplicates=pronab.duplicates,
        empty_first_strand=pronab.empty_first_strand,
    )
    module.alignment_progress = progress
    module.read_rows()


def _table(
    source: Path, settings: FoldSettings, table: TableSettings, progress: OnPairs | None
) -> None:
    columns = []
    for text in table.sequences:
        column, colon, molecule = text.rpartition(":")
        if not colon:
            raise ConfigError(
                f"no molecule type in {text!r}",
                where="--sequences",
                mend="give NAME:MOLECULE, as protein:protein or site:DNA",
            )
        columns.append(SequenceColumn(column=column, molecule=molecule))
    if not columns:
        raise ConfigError(
            "a table needs its sequence columns",
            where="--sequences",
            mend="give NAME:MOLECULE ..., as protein:protein site:DNA",
        )
    if not table.labels:
        rows = _unlabelled_rows(source, columns, table)
        _plain(rows, settings, benchmark=table.name, progress=progress)
        return
    module = TableDataModule(
        source,
        "character",
        sequences=columns,
        labels=list(table.labels),
        kind=table.kind,
        batch_size=1,
        name=table.name,
        id_column=table.id_column,
        group_column=table.group_column,
        folds=settings.folds,
        fold_seed=settings.seed,
        rule="group" if settings.rule == "protein" else settings.rule,
        threshold=settings.threshold,
        fold_file=settings.output,
    )
    module.alignment_progress = progress
    module.read_rows()


def _unlabelled_rows(
    source: Path, columns: list[SequenceColumn], table: TableSettings
) -> Iterator[Row]:
    if len(columns) > 1 or table.group_column is not None:
        raise ConfigError(
            "several sequence columns or a group column, but no label",
            where="--labels",
            mend="give --labels as the run that takes the folds has them",
        )
    (column,) = columns
    try:
        if source.suffix == ".parquet":
            frame = pl.read_parquet(source)
        else:
            frame = pl.read_csv(source, infer_schema=False)
    except pl.exceptions.PolarsError as error:
        raise DataError(f"cannot be read ({error})", where=str(source)) from error
    named = [name for name in (column.column, table.id_column) if name is not None]
    need_columns(frame, named, source)
    molecule = parse_molecule(column.molecule)
    for number, values in enumerate(frame.iter_rows(named=True)):
        name = str(values[table.id_column]) if table.id_column else str(number)
        yield _row(name, str(values[column.column] or ""), molecule, f"{source}, row {name}")


def _fasta_rows(source: Path) -> Iterator[Row]:
    for record in read_fasta(source, Molecule.PROTEIN):
        if isinstance(record, BadRecord):
            raise DataError(
                f"record {record.record!r}: {record.reason} {record.detail}".rstrip(),
                where=f"{source}:{record.line}",
                mend="a fold file covers every record: correct or remove it",
            )
        where = f"{source}:{record.line} {record.id}"
        text = bytes(record.sequence).decode("latin-1")
        yield _row(record.id, text, Molecule.PROTEIN, where)


def _row(name: str, letters: str, molecule: Molecule, where: str) -> Row:
    if not letters:
        raise DataError("no sequence", where=where, mend="fill it in or drop the row")
    sequence = canonical_sequence(letters, molecule, record=where)
    group = hashlib.sha256(sequence.encode()).hexdigest()[:16]
    return Row(id=name, parts=((sequence, molecule),), target=(), group=group)


def _plain(
    rows: Iterable[Row], settings: FoldSettings, *, benchmark: str, progress: OnPairs | None
) -> None:
    fold_splits(
        list(rows),
        benchmark=benchmark,
        rule=settings.rule,
        fold=0,
        folds=settings.folds,
        fold_seed=settings.seed,
        validation="none",
        path=settings.output,
        threshold=settings.threshold,
        progress=progress,
    )
