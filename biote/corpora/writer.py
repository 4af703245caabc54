"""Units of sequence into Arrow shards.

A shard is an Arrow IPC file of one uncompressed record batch, so that it can be memory-mapped and
read without a copy. Each row is a unit: a whole record, or a block of a long nucleic record.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from biote.atomic import atomic_path
from biote.corpora.manifest import ShardInfo
from biote.molecules import MOLECULES, Molecule
from biote.tokenization import Ids

SHARD_FOLDER: Final = "shards"
SHARD_BYTES: Final = 1 << 28
"""A shard is closed when it has reached this size: well below the 2 GB that it may have, because
every process that prepares holds one in memory."""

_ROW_BYTES: Final = 48  # of all columns but the tokens, the record id estimated


@dataclass(frozen=True, slots=True)
class Unit:
    """One row of a shard."""

    record: str
    molecule: Molecule
    tokens: Ids
    """Bare ids, without type tag and end token, (L,)."""
    start: int
    """First residue of the unit in its record, from 0."""
    residues: int
    ends_record: bool
    digest: int


def shard_schema(dtype: np.dtype[Any]) -> pa.Schema:
    """Columns of a shard.

    Args:
        dtype: Type of the token ids.
    """
    return pa.schema(
        [
            ("record_id", pa.large_string()),
            ("molecule", pa.dictionary(pa.int8(), pa.string())),
            ("tokens", pa.large_list(pa.from_numpy_dtype(dtype))),
            ("start", pa.uint64()),
            ("residues", pa.uint64()),
            ("ends_record", pa.bool_()),
            ("digest", pa.uint64()),
        ]
    )


def shard_name(source: int, part: int) -> str:
    """Path of a shard from its corpus folder.

    Args:
        source: Index of the source file among the sorted inputs.
        part: Ordinal of the shard among those of the source.
    """
    return f"{SHARD_FOLDER}/{source:05d}-{part:03d}.arrow"


class ShardWriter:
    """Writes the units of one source file as shards, in order.

    Args:
        folder: Corpus folder.
        source: Index of the source file among the sorted inputs.
        dtype: Type of the token ids.
        shard_bytes: Size at which a shard is closed.
    """

    def __init__(
        self,
        folder: Path,
        source: int,
        *,
        dtype: np.dtype[Any],
        shard_bytes: int = SHARD_BYTES,
    ) -> None:
        self._folder = folder
        self._source = source
        self._schema = shard_schema(dtype)
        self._dtype = dtype
        self._shard_bytes = shard_bytes
        self._units: list[Unit] = []
        self._bytes = 0
        self._shards: list[ShardInfo] = []

    def add(self, unit: Unit) -> None:
        """Append a unit; closes the shard when it is full.

        Args:
            unit: Unit whose tokens are of the writer's type.
        """
        self._units.append(unit)
        self._bytes += unit.tokens.nbytes + _ROW_BYTES
        if self._bytes >= self._shard_bytes:
            self._flush()

    def close(self) -> tuple[ShardInfo, ...]:
        """Write what is left and describe the shards, in order."""
        if self._units:
            self._flush()
        return tuple(self._shards)

    def _flush(self) -> None:
        name = shard_name(self._source, len(self._shards))
        path = self._folder / name
        batch = self._batch()
        tokens = len(batch.column("tokens").values)
        rows = batch.num_rows
        self._units, self._bytes = [], 0
        with atomic_path(path) as partial:
            with pa.OSFile(str(partial), "wb") as sink, pa.ipc.new_file(sink, self._schema) as out:
                out.write_batch(batch)
            with partial.open("rb") as stream:
                sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
            size = partial.stat().st_size
        self._shards.append(
            ShardInfo(file=name, rows=rows, tokens=tokens, bytes=size, sha256=sha256)
        )

    def _batch(self) -> pa.RecordBatch:
        units = self._units
        offsets = np.zeros(len(units) + 1, np.int64)
        np.cumsum([len(unit.tokens) for unit in units], out=offsets[1:])
        values = np.concatenate([unit.tokens for unit in units]).astype(self._dtype, copy=False)
        codes = np.array([_CODES[unit.molecule] for unit in units], np.int8)
        columns = [
            pa.array([unit.record for unit in units], pa.large_string()),
            pa.DictionaryArray.from_arrays(codes, pa.array([m.value for m in MOLECULES])),
            pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(values)),
            pa.array(np.array([unit.start for unit in units], np.uint64)),
            pa.array(np.array([unit.residues for unit in units], np.uint64)),
            pa.array(np.array([unit.ends_record for unit in units], np.bool_)),
            pa.array(np.array([unit.digest for unit in units], np.uint64)),
        ]
        return pa.RecordBatch.from_arrays(columns, schema=self._schema)


_CODES: Final = {molecule: molecule.code for molecule in MOLECULES}
