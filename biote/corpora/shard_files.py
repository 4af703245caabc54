"""Shards in a row, of one corpus or of several, and the records their rows make up.

A record is one row or, if it is long, consecutive rows, the last of which ends it; it may go on in
the next shard. Rows are numbered through all shards and called units.

Legend: N rows of a shard, R records that end in it.
"""

from __future__ import annotations

import functools
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from biote.corpora.manifest import ShardInfo, ValidationRule
from biote.corpora.shards import ShardColumns, Units
from biote.molecules import MOLECULES, Molecule

Flags = npt.NDArray[np.bool_]

_OPEN_SHARDS: Final = 4096
"""Files mapped at once; a Linux process may have 65,530 mappings of all kinds."""


class ShardFiles:
    """Shards in a row; a shard is opened when it is asked for.

    Args:
        files: Path of every shard and what ``corpus.json`` says of it.
        dtype: Type of the token ids.
    """

    def __init__(self, files: Sequence[tuple[Path, ShardInfo]], dtype: np.dtype[Any]) -> None:
        self.files = tuple(files)
        self.dtype = np.dtype(dtype)
        *self._firsts, self.n_units = accumulate((info.rows for _, info in files), initial=0)
        self._cached = functools.lru_cache(maxsize=_OPEN_SHARDS)(self.open)

    def __iter__(self) -> Iterator[ShardColumns]:
        """Open one shard after the other; none is kept open."""
        return map(self.open, range(len(self.files)))

    def equal_records(self, one: int, other: int) -> bool:
        """Whether two records have the same molecule type and the same tokens, unit by unit.

        Args:
            one: First unit of a record.
            other: First unit of another record.
        """
        while True:
            a, i = self._find(one)
            b, j = self._find(other)
            if a.molecules[i] != b.molecules[j] or not np.array_equal(_tokens(a, i), _tokens(b, j)):
                return False
            a_ends, b_ends = (bool(s.ends_bits[r >> 3] >> (r & 7) & 1) for s, r in ((a, i), (b, j)))
            if a_ends or b_ends:
                return a_ends and b_ends
            one, other = one + 1, other + 1

    def open(self, index: int) -> ShardColumns:
        """Open a shard.

        Args:
            index: Its place among the shards.

        Raises:
            DataError: If it is not the one that ``corpus.json`` describes.
        """
        path, info = self.files[index]
        return ShardColumns(path, info, self.dtype)

    def _find(self, unit: int) -> tuple[ShardColumns, int]:
        index = bisect_right(self._firsts, unit) - 1
        return self._cached(index), unit - self._firsts[index]


def _tokens(shard: ShardColumns, row: int) -> npt.NDArray[Any]:
    return shard.tokens[shard.offsets[row] : shard.offsets[row + 1]]


def read_batch(path: Path) -> pa.RecordBatch:
    """The rows of a shard as Arrow columns, views into the mapped file.

    Args:
        path: Shard file, known to be one.
    """
    with pa.memory_map(str(path)) as source:
        return pa.ipc.open_file(source).get_batch(0)


def ended_rows(shard: ShardColumns) -> Flags:
    """Which rows end their record, (N,).

    Args:
        shard: The shard.
    """
    rows = len(shard.digests)
    return np.unpackbits(shard.ends_bits, count=rows, bitorder="little").view(np.bool_)


def reduce_records(
    shards: Iterable[ShardColumns],
    value: Callable[[ShardColumns, Units], npt.NDArray[Any]],
    combine: np.ufunc,
) -> Iterator[tuple[Units, npt.NDArray[Any]]]:
    """Work out one value for every record, shard by shard.

    Args:
        shards: The shards in order.
        value: Given a shard and the place of every row in its record, from 0, (N,), the value of
            every row, (N,).
        combine: Makes the value of a record of those of its rows.

    Yields:
        For every shard the first unit, (R,), and the value, (R,), of the records that end in it,
        in order.
    """
    first = 0
    open_rows = 0  # of the record that went on beyond the last shard
    open_unit = 0
    open_value: npt.NDArray[Any] | None = None  # (1,)
    for shard in shards:
        ends = ended_rows(shard)
        if not len(ends):
            continue
        begins, complete = _segments(ends)
        lengths = np.diff(begins, append=len(ends))
        places = np.arange(len(ends)) - np.repeat(begins, lengths)
        places[: lengths[0]] += open_rows
        values = combine.reduceat(value(shard, places), begins)
        units = first + begins
        if open_value is not None:
            units[0] = open_unit
            values[:1] = combine(open_value, values[:1])
        yield units[:complete], values[:complete]
        if complete < len(begins):
            open_rows = int(places[-1]) + 1
            open_unit, open_value = int(units[-1]), values[-1:]
        else:
            open_rows, open_value = 0, None
        first += len(ends)


def _segments(ends: Flags) -> tuple[Units, int]:
    """First rows of the records of a shard, and how many of these end in it."""
    stops = np.flatnonzero(ends) + 1
    begins = np.concatenate([np.zeros(1, np.int64), stops])
    return begins[begins < len(ends)], len(stops)


class RecordMarks:
    """Marks on records: one bit for every unit, set on the first unit of a marked record.

    Args:
        n_units: Number of units.
    """

    def __init__(self, n_units: int) -> None:
        self._bits = np.zeros((n_units + 7) // 8, np.uint8)

    def mark(self, units: Units) -> None:
        """Mark records.

        Args:
            units: Their first units, (R,).
        """
        np.bitwise_or.at(self._bits, units >> 3, np.left_shift(1, units & 7).astype(np.uint8))

    def rows(self, shards: Iterable[ShardColumns]) -> Iterator[tuple[ShardColumns, Flags]]:
        """Yield every shard with its rows of marked records, (N,).

        Args:
            shards: All shards in order.
        """
        first = 0
        goes_on = False  # the last record of the shard before, beyond its end
        marked_before = False
        for shard in shards:
            ends = ended_rows(shard)
            if not len(ends):
                yield shard, ends
                continue
            begins, _ = _segments(ends)
            skip = first & 7
            bits = self._bits[first >> 3 : (first + len(ends) + 7) >> 3]
            marks = np.unpackbits(bits, bitorder="little").view(np.bool_)[skip + begins]
            if goes_on:
                marks[0] = marked_before
            yield shard, np.repeat(marks, np.diff(begins, append=len(ends)))
            goes_on, marked_before = not ends[-1], bool(marks[-1])
            first += len(ends)


def count_rows(
    shard: ShardColumns, rows: Flags | None = None, *, rule: ValidationRule | None = None
) -> dict[Molecule, Counter[str]]:
    """Count records, units, residues and tokens of every molecule type.

    A record is counted where it ends.

    Args:
        shard: The shard.
        rows: Rows to count, (N,); all by default.
        rule: Count validation units and their tokens, too.
    """
    columns: dict[str, npt.NDArray[Any]] = {
        "records": ended_rows(shard),
        "units": np.ones(len(shard.digests), np.bool_),
        "residues": shard.residues,
        "tokens": np.diff(shard.offsets),
    }
    if rule is not None:
        held_out = rule.is_validation(shard.digests)
        columns["validation_units"] = held_out
        columns["validation_tokens"] = columns["tokens"] * held_out
    wanted = slice(None) if rows is None else rows
    codes = shard.molecules[wanted]
    return {
        MOLECULES[code]: Counter(
            {name: int(column[wanted][codes == code].sum()) for name, column in columns.items()}
        )
        for code in np.unique(codes).tolist()
    }
