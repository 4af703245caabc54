"""Rows of shards of any size into shards of full size."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from biote.corpora.manifest import ShardInfo
from biote.corpora.shard_files import Flags, read_batch
from biote.corpora.shards import ShardColumns, Units
from biote.corpora.writer import SHARD_FOLDER, write_shard

LARGEST_SHARD_BYTES: Final = 2_000_000_000

_ROW_BYTES: Final = 42  # of all columns but tokens and record ids: five of 8 bytes, and two small
_PIECES: Final = 1024
"""Pieces joined at once: a mapped file for each, of which a process may have 65,530."""


class RowCollector:
    """Gathers rows of shards, to copy them together.

    Runs of rows are views until enough are there to be copied in one go. (Arrow's own selection
    of rows takes eight bytes for every token of theirs.)
    """

    def __init__(self) -> None:
        self._runs: list[pa.RecordBatch] = []
        self._joined: list[pa.RecordBatch] = []

    def __bool__(self) -> bool:
        return bool(self._runs or self._joined)

    def add(self, batch: pa.RecordBatch, rows: Units) -> None:
        """Gather rows.

        Args:
            batch: The rows of a shard.
            rows: Which of them, ascending.
        """
        for run in np.split(rows, np.flatnonzero(np.diff(rows) != 1) + 1):
            if len(run):
                self._runs.append(batch.slice(int(run[0]), len(run)))
            if len(self._runs) == _PIECES:
                self._joined.append(_join(self._runs))
                self._runs = []

    def copy(self) -> pa.RecordBatch:
        """The rows gathered, at least one, as one batch; the collector is empty then."""
        pieces, self._joined, self._runs = self._joined + self._runs, [], []
        return _join(pieces)


def _join(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    columns = zip(*(batch.columns for batch in batches), strict=True)
    arrays = [pa.concat_arrays(pieces) for pieces in columns]
    return pa.RecordBatch.from_arrays(arrays, schema=batches[0].schema)


class ShardPacker:
    """Copies rows of shards into new ones, each as full as whole rows make it.

    In memory are the rows of one new shard, and for a moment, while they are joined, twice that.

    Args:
        folder: Corpus folder of the new shards.
        shard_bytes: Most that a shard holds, unless a single row is larger.
    """

    def __init__(self, folder: Path, *, shard_bytes: int) -> None:
        self._folder = folder
        self._room = self._shard_bytes = shard_bytes
        self._rows = RowCollector()
        self._shards: list[ShardInfo] = []

    def add(self, path: Path, columns: ShardColumns, wanted: Flags) -> None:
        """Take rows of a shard.

        Args:
            path: Shard file, known to be whole.
            columns: Its columns.
            wanted: The rows to take, (N,).
        """
        batch = read_batch(path)
        rows = np.flatnonzero(wanted)
        ends = np.cumsum(_row_bytes(columns)[rows])
        taken = 0
        while taken < len(rows):
            done = int(ends[taken - 1]) if taken else 0
            stop = int(np.searchsorted(ends, done + self._room, side="right"))
            if stop <= taken and self._rows:
                self._flush()
                continue
            stop = max(stop, taken + 1)
            self._rows.add(batch, rows[taken:stop])
            self._room -= int(ends[stop - 1]) - done
            taken = stop

    def close(self) -> tuple[ShardInfo, ...]:
        """Write what is left and describe the shards, in order."""
        if self._rows:
            self._flush()
        return tuple(self._shards)

    def _flush(self) -> None:
        self._room = self._shard_bytes
        name = f"{SHARD_FOLDER}/00000-{len(self._shards):05d}.arrow"
        self._shards.append(write_shard(self._folder, name, self._rows.copy()))


def _row_bytes(columns: ShardColumns) -> npt.NDArray[np.int64]:
    """What every row takes up in a shard, (N,)."""
    tokens = np.diff(columns.offsets) * columns.tokens.itemsize
    return tokens + np.diff(columns.id_offsets) + _ROW_BYTES
