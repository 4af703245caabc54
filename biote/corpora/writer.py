"""Units of sequence into Arrow shards.

A shard is an Arrow IPC file of one uncompressed record batch, so that it can be memory-mapped and
read without a copy. Each row is a unit: a whole record, or a block of a long nucleic record.

Legend: N units of a shard.
"""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from biote.atomic import atomic_path
from biote.corpora.hashing import HashingSink
from biote.corpora.manifest import ShardInfo
from biote.corpora.units import Unit
from biote.molecules import MOLECULES, Molecule
from biote.tokenization import Ids, Tokenizer

SHARD_FOLDER: Final = "shards"
SHARD_BYTES: Final = 1 << 27
"""A shard is closed when it has reached this size: well below the 2 GB that it may have, because
every process that prepares holds one in memory."""

_ROW_BYTES: Final = 48  # of all columns but the tokens, the record id estimated
_LETTERS_AT_ONCE: Final = 1 << 22  # tokenised in one call
_CODES: Final = {molecule: molecule.code for molecule in MOLECULES}
_MODALITIES: Final = {molecule: molecule.modality for molecule in MOLECULES}


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


def shard_name(source: int, part: int, ordinal: int) -> str:
    """Path of a shard from its corpus folder.

    Args:
        source: Index of the source file among the sorted inputs.
        part: Number of the part of the source.
        ordinal: Number of the shard among those of the part.
    """
    return f"{SHARD_FOLDER}/{source:05d}-{part:05d}-{ordinal:03d}.arrow"


class TokenBuffer:
    """Tokens end to end in memory that is used again for every shard.

    Pieces that are joined in the end would be held twice, and fresh memory costs a process as much
    time as tokenising does.

    Args:
        dtype: Type of the token ids.
        capacity: Tokens that fit before the buffer has to grow.
    """

    def __init__(self, dtype: np.dtype[Any], capacity: int) -> None:
        self._ids: Ids = np.empty(capacity, dtype)
        self._size = 0

    def append(self, ids: Ids) -> None:
        """Add tokens behind those that are there.

        Args:
            ids: The tokens, (L,).
        """
        size = self._size + len(ids)
        if size > len(self._ids):
            grown = np.empty(max(size, 2 * len(self._ids)), self._ids.dtype)
            grown[: self._size] = self.values
            self._ids = grown
        self._ids[self._size : size] = ids
        self._size = size

    @property
    def values(self) -> Ids:
        """The tokens, not copied: they change once the buffer is cleared and filled again."""
        return self._ids[: self._size]

    def clear(self) -> None:
        """Begin anew."""
        self._size = 0


@dataclass
class Rows:
    """The columns of a shard while it grows, all but the tokens; see `shard_schema`."""

    records: list[str] = field(default_factory=list)
    codes: list[int] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    residues: list[int] = field(default_factory=list)
    ends_record: list[bool] = field(default_factory=list)
    digests: list[int] = field(default_factory=list)
    lengths: list[npt.NDArray[np.int64]] = field(default_factory=list)
    """Tokens of every unit, in pieces."""

    def extend(self, units: list[Unit], lengths: npt.NDArray[np.int64]) -> None:
        """Append units.

        Args:
            units: The units, N of them.
            lengths: Tokens of every unit, (N,).
        """
        records, molecules, letters, starts, ends_record, digests = zip(*units, strict=True)
        self.records += records
        self.codes += map(_CODES.__getitem__, molecules)
        self.residues += map(len, letters)
        self.starts += starts
        self.ends_record += ends_record
        self.digests += digests
        self.lengths.append(lengths)

    def batch(self, tokens: Ids) -> pa.RecordBatch:
        """The rows as one Arrow batch, which reads the tokens where they are.

        Args:
            tokens: Tokens of all units, end to end.
        """
        offsets = np.zeros(len(self.records) + 1, np.int64)
        np.cumsum(np.concatenate(self.lengths), out=offsets[1:])
        columns = [
            pa.array(self.records, pa.large_string()),
            pa.DictionaryArray.from_arrays(
                np.array(self.codes, np.int8), pa.array([m.value for m in MOLECULES])
            ),
            pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(tokens)),
            pa.array(np.array(self.starts, np.uint64)),
            pa.array(np.array(self.residues, np.uint64)),
            pa.array(np.array(self.ends_record, np.bool_)),
            pa.array(np.array(self.digests, np.uint64)),
        ]
        return pa.RecordBatch.from_arrays(columns, schema=shard_schema(tokens.dtype))


def write_shard(folder: Path, name: str, batch: pa.RecordBatch) -> ShardInfo:
    """Write a shard, whole or not at all.

    Args:
        folder: Corpus folder.
        name: Path of the shard from it.
        batch: Its rows.
    """
    with atomic_path(folder / name) as partial, HashingSink(partial) as sink:
        with pa.PythonFile(sink, mode="w") as file, pa.ipc.new_file(file, batch.schema) as out:
            out.write_batch(batch)
    return ShardInfo(
        file=name,
        rows=batch.num_rows,
        tokens=len(batch.column("tokens").values),
        bytes=sink.bytes,
        sha256=sink.sha256,
    )


class ShardWriter:
    """Tokenises the units of one part of a source and writes them as shards, in order.

    Args:
        folder: Corpus folder.
        tokenizer: Tokenizer of the corpus.
        source: Index of the source file among the sorted inputs.
        part: Number of the part of the source.
        shard_bytes: Size at which a shard is closed.
    """

    def __init__(
        self,
        folder: Path,
        tokenizer: Tokenizer,
        *,
        source: int,
        part: int = 0,
        shard_bytes: int = SHARD_BYTES,
    ) -> None:
        self._folder = folder
        self._tokenizer = tokenizer
        self._source = source
        self._part = part
        self._shard_bytes = shard_bytes
        self._letters_at_once = min(_LETTERS_AT_ONCE, shard_bytes // 2)
        self._rows = Rows()
        # Room for a full shard, and for the units that are tokenised together with its last one.
        capacity = shard_bytes // tokenizer.dtype.itemsize + 2 * self._letters_at_once
        self._tokens = TokenBuffer(tokenizer.dtype, capacity)
        self._waiting: list[Unit] = []
        self._waiting_letters = 0
        self._bytes = 0
        self._shards: list[ShardInfo] = []
        self.counts: dict[Molecule, Counter[str]] = {}
        """Records, units, residues and tokens of every molecule type in the shards written."""

    def add(self, unit: Unit) -> None:
        """Append a unit; closes the shard when it is full.

        Args:
            unit: Next unit.
        """
        self._waiting.append(unit)
        self._waiting_letters += len(unit.letters) + _ROW_BYTES
        if self._waiting_letters >= self._letters_at_once:
            self._tokenise()
            if self._bytes >= self._shard_bytes:
                self._flush()

    def close(self) -> tuple[ShardInfo, ...]:
        """Write what is left and describe the shards, in order."""
        self._tokenise()
        if self._rows.records:
            self._flush()
        return tuple(self._shards)

    def _tokenise(self) -> None:
        """Make rows of the units that wait, runs of one modality at a time."""
        waiting, self._waiting, self._waiting_letters = self._waiting, [], 0
        for modality, run in itertools.groupby(waiting, lambda unit: _MODALITIES[unit.molecule]):
            units = list(run)
            tokens, lengths = self._tokenizer.encode_spelled([u.letters for u in units], modality)
            self._tokens.append(tokens)
            self._rows.extend(units, lengths)
            self._bytes += tokens.nbytes + _ROW_BYTES * len(units)

    def _flush(self) -> None:
        rows, self._rows, self._bytes = self._rows, Rows(), 0
        self._count(rows)
        name = shard_name(self._source, self._part, len(self._shards))
        self._shards.append(write_shard(self._folder, name, rows.batch(self._tokens.values)))
        self._tokens.clear()

    def _count(self, rows: Rows) -> None:
        codes = np.array(rows.codes)
        columns = {
            "records": np.array(rows.ends_record, np.int64),
            "units": np.ones(len(codes), np.int64),
            "residues": np.array(rows.residues, np.int64),
            "tokens": np.concatenate(rows.lengths),
        }
        for code in np.unique(codes).tolist():
            counts = self.counts.setdefault(MOLECULES[code], Counter())
            for name, column in columns.items():
                counts[name] += int(column[codes == code].sum())
