"""Parquet tables with columns ``id`` and ``sequence``, streamed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from biote.corpora.records import BadRecord, Record
from biote.molecules import Molecule

_COLUMNS: Final = ["id", "sequence"]
_BATCH_ROWS: Final = 8_192
_WHITE_SPACE: Final = b" \t\r\n\v\f"


def read_table(path: Path, molecule: Molecule) -> Iterator[Record | BadRecord]:
    """Yield the rows of a Parquet file in order.

    A row without id or sequence is a ledger line; so is a file without the two columns, and the
    place where a damaged file cannot be read further.

    Args:
        path: Parquet file.
        molecule: Molecule type of every row.
    """
    source = str(path)
    row = 0
    try:
        with pq.ParquetFile(path) as table:
            missing = [name for name in _COLUMNS if name not in table.schema_arrow.names]
            if missing:
                yield BadRecord(source, 0, "", "no column", " and ".join(missing))
                return
            for batch in table.iter_batches(batch_size=_BATCH_ROWS, columns=_COLUMNS):
                ids = batch.column("id").cast(pa.large_string()).to_pylist()
                sequences = (
                    batch.column("sequence").cast(pa.large_string()).cast(pa.large_binary())
                ).to_pylist()
                for record, sequence in zip(ids, sequences, strict=True):
                    row += 1
                    yield _judge(record, sequence, molecule, source, row)
    except pa.ArrowException as error:
        yield BadRecord(source, row + 1, "", "damaged Parquet file", _first_line(error))
    except OSError as error:
        if error.errno is not None:
            raise  # the disk's fault; without a number it is Arrow's word for damaged pages
        yield BadRecord(source, row + 1, "", "damaged Parquet file", _first_line(error))


def _judge(
    record: Any, sequence: bytes | None, molecule: Molecule, source: str, row: int
) -> Record | BadRecord:
    letters = (sequence or b"").translate(None, _WHITE_SPACE)
    if not record:
        return BadRecord(source, row, "", "no record id")
    if not letters:
        return BadRecord(source, row, str(record), "no sequence in the record")
    return Record(str(record), letters, molecule, source, row)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
