"""Files of proteins with labels of their residues, record by record."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from biote.corpora.tape_records import read_json, read_lmdb
from biote.datamodules.residue_labels import ResidueRecord
from biote.datamodules.tape_files import read_tape_csv
from biote.datamodules.tfrecord import read_examples
from biote.errors import DataError
from biote.frames import read_frame

_FETCH: Final = "fetch the file anew"


def read_three_lines(path: Path) -> Iterator[ResidueRecord]:
    """Read FASTA with a third line: ``>id``, the sequence, a label for each of its residues.

    Args:
        path: File.

    Raises:
        DataError: If a record has another number of lines or no id.
    """
    try:
        lines = path.read_text(encoding="ascii").split("\n")
    except UnicodeDecodeError as error:
        raise DataError(f"not a text file ({error})", where=str(path), mend=_FETCH) from error
    written = [(number, line.strip()) for number, line in enumerate(lines, 1) if line.strip()]
    for at in range(0, len(written), 3):
        number, header = written[at]
        where = f"{path}:{number} ({header[1:]})"
        lines_of = [line for _, line in written[at : at + 3]]
        if (
            not header.startswith(">")
            or len(lines_of) < 3
            or any(line.startswith(">") for line in lines_of[1:])
        ):
            raise DataError(
                "not a record of three lines",
                where=where,
                mend="a record is >id, a line with the sequence, a line with the labels",
            )
        yield ResidueRecord(where, header[1:].strip(), lines_of[1], lines_of[2])


def read_tape_residues(
    path: Path, *, field: str, beside: str | None = None
) -> Iterator[ResidueRecord]:
    """Read one set of a task of TAPE with labels of residues.

    Args:
        path: CSV file with the columns ``seq`` and ``label``, JSON list of objects, or LMDB; of
            the latter two the sequence is in ``primary``.
        field: Field of the labels in JSON and LMDB.
        beside: Field of other labels to read with them, where it is there.

    Raises:
        DataError: If the file is damaged or a field is missing.
        ConfigError: If it is an LMDB and the library for it is not installed.
    """
    if path.suffix == ".csv":
        for record in read_tape_csv(path):
            yield ResidueRecord(record.where, str(record.number), record.sequence, record.label)
        return
    entries = read_json(path) if path.suffix == ".json" else read_lmdb(path)
    for number, entry in enumerate(entries):
        where = f"{path}, entry {number}"
        for name in ("primary", field):
            if not isinstance(entry, dict) or name not in entry:
                raise DataError(
                    f"no field {name!r}", where=where, mend=f"TAPE's fields are primary and {field}"
                )
        sequence = entry["primary"]
        if not isinstance(sequence, str):
            raise DataError("primary is no text", where=where, mend=_FETCH)
        other = entry.get(beside) if beside else None
        yield ResidueRecord(where, str(number), sequence, entry[field], other)


def read_table(
    path: Path, *, sequence: str, label: str, id_column: str | None = None
) -> Iterator[ResidueRecord]:
    """Read a CSV or Parquet table with a sequence and its labels in every row.

    Args:
        path: File.
        sequence: Column of sequences.
        label: Column of labels: text, or in Parquet lists.
        id_column: Column of ids; null numbers the rows from 0.

    Raises:
        DataError: If the file cannot be read, a column is missing, or a cell is empty.
    """
    named = [name for name in (id_column, sequence, label) if name]
    frame = read_frame(path, columns=named)  # digits are letters here
    for number, values in enumerate(frame.select(named).iter_rows(named=True)):
        row_id = str(values[id_column]) if id_column else str(number)
        where = f"{path}, row {number} ({row_id})" if id_column else f"{path}, row {number}"
        if values[sequence] is None or values[label] is None:
            raise DataError(
                f"no {sequence if values[sequence] is None else label}",
                where=where,
                mend="fill it in or drop the row",
            )
        yield ResidueRecord(where, row_id, str(values[sequence]), values[label])


def read_tfrecord(path: Path, *, label: str) -> Iterator[ResidueRecord]:
    """Read a TFRecord with a ``sequence`` and a list of labels in every message.

    Args:
        path: File.
        label: Name of the feature with the labels.

    Raises:
        DataError: If the file is damaged or a feature is missing.
    """
    for number, features in enumerate(read_examples(path)):
        where = f"{path}, record {number}"
        for name in ("sequence", label):
            if name not in features:
                raise DataError(
                    f"no feature {name!r}",
                    where=where,
                    mend=f"its features are {', '.join(sorted(features))}",
                )
        sequence = next(iter(features["sequence"]), b"")
        if not isinstance(sequence, bytes):
            raise DataError("feature 'sequence' is no text", where=where, mend=_FETCH)
        text = sequence.decode("ascii", "replace")
        yield ResidueRecord(where, str(number), text, features[label])
