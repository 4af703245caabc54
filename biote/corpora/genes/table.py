"""The Parquet table of genes and their proteins, written in bounded memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from biote.corpora.genes.pairs import Pair

PAIR_SCHEMA: Final = pa.schema(
    [
        pa.field("pair_id", pa.string(), nullable=False),
        pa.field("record_id", pa.string(), nullable=False),
        pa.field("record_length", pa.int64(), nullable=False),
        pa.field("gene", pa.string()),
        pa.field("locus_tag", pa.string()),
        pa.field("protein_id", pa.string()),
        pa.field("organism", pa.string()),
        pa.field("taxonomy_id", pa.int64()),
        pa.field("molecule", pa.string(), nullable=False),
        pa.field("strand", pa.int8(), nullable=False),
        pa.field("start", pa.int64(), nullable=False),
        pa.field("end", pa.int64(), nullable=False),
        pa.field("exons", pa.int32(), nullable=False),
        pa.field("coding_length", pa.int64(), nullable=False),
        pa.field("gene_sequence", pa.large_string(), nullable=False),
        pa.field("protein_sequence", pa.large_string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
    ]
)
"""Columns of the table; what a record does not state is null.

- ``pair_id`` (string): record, locus tag and protein where there are any, place and strand;
  unique, with a number at the end where two would be the same.
- ``record_id`` (string): VERSION of the record, or its ACCESSION, or its LOCUS name.
- ``record_length`` (int64): bases of the record.
- ``gene``, ``locus_tag``, ``protein_id`` (string): as the coding feature states them.
- ``organism`` (string), ``taxonomy_id`` (int64): of the record; NCBI taxonomy.
- ``molecule`` (string): molecule type of the record, such as DNA or mRNA.
- ``strand`` (int8): 1 or -1.
- ``start``, ``end`` (int64): place of the gene on the plus strand of the record, counted from 0,
  ``end`` left out; beyond ``record_length`` where the gene crosses the origin of a circular
  record.
- ``exons`` (int32): coding parts, those that touch counted as one.
- ``coding_length`` (int64): bases of the coding sequence, with the stop codon where it is there.
- ``gene_sequence`` (large_string): ATCGN in reading direction, introns included.
- ``protein_sequence`` (large_string): canonical residues.
- ``source`` (string): file the pair was read from.
"""

GROUP_BYTES: Final = 1 << 26
"""Letters of genes and proteins at which a row group is closed."""

GROUP_ROWS: Final = 1 << 16
_BATCH_BYTES: Final = 1 << 22
_BATCH_ROWS: Final = 4_096
_SEQUENCES: Final = ("gene_sequence", "protein_sequence")
_REPEATING: Final = ["record_id", "organism", "molecule", "source"]
_WITH_STATISTICS: Final = [name for name in PAIR_SCHEMA.names if name not in _SEQUENCES]


def to_batches(pairs: Iterable[Pair]) -> Iterator[pa.RecordBatch]:
    """Turn pairs into record batches of `PAIR_SCHEMA`, at most some megabytes each.

    Args:
        pairs: Any number of pairs.
    """
    rows: list[Pair] = []
    letters = 0
    for pair in pairs:
        rows.append(pair)
        letters += len(pair.gene_sequence) + len(pair.protein_sequence)
        if letters >= _BATCH_BYTES or len(rows) >= _BATCH_ROWS:
            yield _to_batch(rows)
            rows, letters = [], 0
    if rows:
        yield _to_batch(rows)


def _to_batch(rows: list[Pair]) -> pa.RecordBatch:
    columns = [[getattr(row, name) for row in rows] for name in PAIR_SCHEMA.names]
    arrays = [
        pa.array(column, field.type) for column, field in zip(columns, PAIR_SCHEMA, strict=True)
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=PAIR_SCHEMA)


class PairTable:
    """Writes a table of pairs; its bytes are a function of the rows, however they come.

    A row group holds at most about 64 MB of letters. To keep the ids of pairs unique, eight
    bytes of a hash are kept of each, some 70 bytes of memory in all.

    Args:
        path: File to write.
        metadata: Metadata of its schema, text by key.
    """

    def __init__(self, path: Path, metadata: Mapping[str, str]) -> None:
        self._writer = pq.ParquetWriter(
            path,
            PAIR_SCHEMA.with_metadata(metadata),
            compression="zstd",
            use_dictionary=_REPEATING,
            write_statistics=_WITH_STATISTICS,
        )
        self._waiting: list[pa.RecordBatch] = []
        self._letters = 0
        self._rows = 0
        self._ids: set[bytes] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            self._close_group()
        self._writer.close()

    def add(self, batch: pa.RecordBatch) -> None:
        """Add rows.

        Args:
            batch: Rows of `PAIR_SCHEMA`.
        """
        ids = [self._unique(pair_id) for pair_id in batch.column("pair_id").to_pylist()]
        batch = batch.set_column(0, PAIR_SCHEMA.field("pair_id"), pa.array(ids, pa.string()))
        genes, proteins = (pc.binary_length(batch.column(name)).to_pylist() for name in _SEQUENCES)
        start = 0
        for row, (gene, protein) in enumerate(zip(genes, proteins, strict=True)):
            self._letters += gene + protein
            self._rows += 1
            if self._letters >= GROUP_BYTES or self._rows >= GROUP_ROWS:
                self._waiting.append(batch.slice(start, row + 1 - start))
                self._close_group()
                start = row + 1
        if start < batch.num_rows:
            self._waiting.append(batch.slice(start))

    def _close_group(self) -> None:
        if self._waiting:
            # One chunk a column: where chunks end must not show in the file.
            table = pa.Table.from_batches(self._waiting).combine_chunks()
            self._writer.write_table(table, row_group_size=table.num_rows)
        self._waiting, self._letters, self._rows = [], 0, 0

    def _unique(self, pair_id: str) -> str:
        number = 1
        unique = pair_id
        while (digest := hashlib.blake2b(unique.encode(), digest_size=8).digest()) in self._ids:
            number += 1
            unique = f"{pair_id}|{number}"
        self._ids.add(digest)
        return unique
