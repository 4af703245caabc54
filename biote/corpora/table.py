"""Parquet tables with columns ``id`` and ``sequence``, streamed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from biote.corpora.records import BadRecord, Record
from biote.molecules import Molecule

_COLUMNS: Final = ["id", "sequence"]
_BATCH_ROWS: Final = 8_192
_BATCH_BYTES: Final = 1 << 24
_READ_BYTES: Final = 1 << 20  # of a column at once; without a limit it would be a row group
_WHITE_SPACE: Final = b" \t\r\n\v\f"


def read_table(path: Path, molecule: Molecule) -> Iterator[Record | BadRecord]:
    """Yield the rows of a Parquet file in order.

    A row without id or sequence is a ledger line; so is a file without the two columns, and the
    place where a damaged file cannot be read further. Rows are read a few megabytes at a time, but
    a page of the file is decoded as a whole, and its size is the writer's choice.

    Args:
        path: Parquet file.
        molecule: Molecule type of every row.
    """
    source = str(path)
    row = 0
    try:
        with pq.ParquetFile(path, buffer_size=_READ_BYTES, pre_buffer=False) as table:
            missing = [name for name in _COLUMNS if name not in table.schema_arrow.names]
            if missing:
                yield BadRecord(source, 0, "", "no column", " and ".join(missing))
                return
            for group in range(table.num_row_groups):
                rows = _batch_rows(table.metadata.row_group(group))
                for batch in table.iter_batches(rows, row_groups=[group], columns=_COLUMNS):
                    ids, sequences = (_cells(batch.column(name)) for name in _COLUMNS)
                    for record, sequence in zip(ids, sequences, strict=True):
                        row += 1
                        yield _judge(record, sequence, molecule, source, row)
    except (pa.ArrowException, UnicodeDecodeError) as error:  # the latter from names of columns
        yield BadRecord(source, row + 1, "", "damaged Parquet file", _first_line(error))
    except OSError as error:
        if error.errno is not None:
            raise  # the disk's fault; without a number it is Arrow's word for damaged pages
        yield BadRecord(source, row + 1, "", "damaged Parquet file", _first_line(error))


def _batch_rows(group: pq.RowGroupMetaData) -> int:
    """How many rows of a row group to read at once."""
    rows_that_fit = int(_BATCH_BYTES * group.num_rows // max(group.total_byte_size, 1))
    return min(max(rows_that_fit, 1), _BATCH_ROWS)


def _cells(column: pa.Array) -> list[bytes | None]:
    """The cells as bytes: text need not be valid for the rows beside it to be read."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if not (pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type)):
        column = column.cast(pa.large_string())
    cells: list[bytes | None] = column.cast(pa.large_binary()).to_pylist()
    return cells


def _judge(
    record: bytes | None, sequence: bytes | None, molecule: Molecule, source: str, row: int
) -> Record | BadRecord:
    name = (record or b"").decode("utf-8", "replace")
    letters = (sequence or b"").translate(None, _WHITE_SPACE)
    if not name:
        return BadRecord(source, row, "", "no record id")
    if not letters:
        return BadRecord(source, row, name, "no sequence in the record")
    return Record(name, letters, molecule, source, row)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
