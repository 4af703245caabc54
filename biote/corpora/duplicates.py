"""Records with the sequence of an earlier record of their molecule type, found and dropped.

Candidates are found by 64-bit digest and confirmed token by token, so that two sequences with one
digest are both kept. Records are compared as tokenised: what a tokenizer reads alike is alike.

Memory is bounded. Of every distinct record a digest and a place are held, 48 bytes with what
sorting them takes, and never more than 1 GiB of them: a corpus that needs more is gone through
several times, each time for a range of the digests, which re-reads the digest column and two small
ones but no tokens. A corpus of 600 million records, GenBank and UniRef100, takes about 54 passes.
Beside these there is one bit for every unit, and the digests of one shard.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from biote.corpora.manifest import ShardInfo
from biote.corpora.packing import RowCollector
from biote.corpora.shard_files import (
    RecordMarks,
    ShardFiles,
    count_rows,
    read_batch,
    reduce_records,
)
from biote.corpora.shards import ShardColumns, Units
from biote.corpora.writer import write_shard
from biote.molecules import Molecule

logger = logging.getLogger(__name__)

HELD_BYTES: Final = 1 << 30
"""Memory for digests and places of records, the bound of one pass."""

BYTES_PER_RECORD: Final = 48
"""A digest and a place, and the same again twice while they are sorted."""

_DIGESTS: Final = 1 << 64
_PLACE: Final = np.uint64(0x9E3779B97F4A7C15)
_TYPE: Final = np.uint64(0xD1B54A32D192ED03)


def without_duplicates(
    folder: Path, shards: Sequence[ShardInfo], *, dtype: np.dtype[Any]
) -> tuple[tuple[ShardInfo, ...], dict[Molecule, Counter[str]]]:
    """Drop every record with the sequence of an earlier one of its molecule type.

    A shard that loses rows is written anew under another name, the old one left as it is, so that
    the work can be interrupted and done again. A shard that loses all rows has no successor.

    Args:
        folder: Corpus folder.
        shards: Its shards in order.
        dtype: Type of the token ids.

    Returns:
        The shards that take their place, and the records, units, residues and tokens dropped of
        every molecule type that lost some.
    """
    files = ShardFiles([(folder / shard.file, shard) for shard in shards], dtype)
    marks = find_duplicates(files)
    left: list[ShardInfo] = []
    dropped: dict[Molecule, Counter[str]] = {}
    for info, (columns, rows) in zip(shards, marks.rows(files), strict=True):
        if not rows.any():
            left.append(info)
            continue
        for molecule, tally in count_rows(columns, rows).items():
            dropped.setdefault(molecule, Counter()).update(tally)
        if not rows.all():
            kept = RowCollector()
            kept.add(read_batch(folder / info.file), np.flatnonzero(~rows))
            name = f"{info.file.removesuffix('.arrow')}d.arrow"
            left.append(write_shard(folder, name, kept.copy()))
    return tuple(left), dropped


def find_duplicates(files: ShardFiles, *, held_bytes: int = HELD_BYTES) -> RecordMarks:
    """Mark every record with the sequence of an earlier one of its molecule type.

    Args:
        files: Shards in order.
        held_bytes: Memory for digests and places of records.
    """
    marks = RecordMarks(files.n_units)
    capacity = max(held_bytes // BYTES_PER_RECORD, 1)
    # Half full when all is read, so that there is room to read into.
    passes = 1 if files.n_units <= capacity else math.ceil(2 * files.n_units / capacity)
    for number in range(passes):
        if passes > 1:
            logger.info("duplicates: pass %d of %d over the digests", number + 1, passes)
        first, last = (_DIGESTS * n // passes for n in (number, number + 1))
        distinct = _Distinct(files, marks, capacity=min(capacity, files.n_units))
        for units, digests in record_digests(files):
            wanted = (digests >= np.uint64(first)) & (digests <= np.uint64(last - 1))
            distinct.add(units[wanted], digests[wanted])
        distinct.settle()
    return marks


def record_digests(files: ShardFiles) -> Iterator[tuple[Units, npt.NDArray[np.uint64]]]:
    """Yield first units, (R,), and digests, (R,), of the records that end in every shard.

    The digest of a record is made of those of its units, their order, and its molecule type.

    Args:
        files: Shards in order.
    """
    return reduce_records(files, _unit_digests, np.add)


def _unit_digests(shard: ShardColumns, places: Units) -> npt.NDArray[np.uint64]:
    """What every unit adds to the digest of its record, (N,)."""
    mixed: npt.NDArray[np.uint64] = shard.digests + places.astype(np.uint64) * _PLACE
    mixed += shard.molecules.astype(np.uint64) * _TYPE
    # Scrambled, because sums of plain digests would agree wherever units only change places.
    # Multiplication by an odd number and an exclusive or with the upper bits lose nothing.
    for factor, shift in ((0xBF58476D1CE4E5B9, 30), (0x94D049BB133111EB, 31)):
        mixed ^= mixed >> np.uint64(shift)
        mixed *= np.uint64(factor)
    mixed ^= mixed >> np.uint64(32)
    return mixed


class _Distinct:
    """The distinct records seen so far in one range of digests.

    Args:
        files: Shards in order.
        marks: Marks on the duplicates.
        capacity: Records to hold.
    """

    def __init__(self, files: ShardFiles, marks: RecordMarks, *, capacity: int) -> None:
        self._files = files
        self._marks = marks
        self._digests = np.empty(capacity, np.uint64)
        self._units = np.empty(capacity, np.int64)
        self._held = 0

    def add(self, units: Units, digests: npt.NDArray[np.uint64]) -> None:
        """Take the next records, in order.

        Args:
            units: Their first units, (R,).
            digests: Their digests, (R,).
        """
        taken = 0
        while taken < len(units):
            room = len(self._units) - self._held
            if room == 0:
                self._make_room()
                continue
            new = slice(taken, taken + room)
            count = len(units[new])
            self._units[self._held : self._held + count] = units[new]
            self._digests[self._held : self._held + count] = digests[new]
            self._held += count
            taken += count

    def settle(self) -> None:
        """Mark the duplicates among the records held and let go of them."""
        # Stable: records of one digest stay in the order of the corpus.
        order = np.argsort(self._digests[: self._held], kind="stable")
        digests, units = self._digests[order], self._units[order]
        del order
        distinct = self._distinct(digests, units)
        self._marks.mark(units[~distinct])
        self._held = int(distinct.sum())
        self._digests[: self._held] = digests[distinct]
        self._units[: self._held] = units[distinct]

    def _make_room(self) -> None:
        self.settle()
        if self._held > len(self._units) * 7 // 8:
            # A range holds about half the capacity, whatever the sequences are: digests are
            # uniform. Only where the capacity is a handful of records does chance exceed it.
            self._digests = np.concatenate([self._digests, self._digests])
            self._units = np.concatenate([self._units, self._units])

    def _distinct(self, digests: npt.NDArray[np.uint64], units: Units) -> npt.NDArray[np.bool_]:
        """Which of the records, sorted by digest and place, have no equal before them."""
        distinct = np.ones(len(units), np.bool_)
        equal = digests[1:] == digests[:-1]
        begins = np.flatnonzero(equal & ~np.concatenate([[False], equal[:-1]]))
        # By the place of their first record, so that this one is read in the order of the files.
        for begin in begins[np.argsort(units[begins])].tolist():
            firsts = [int(units[begin])]
            row = begin
            while row < len(equal) and equal[row]:
                row += 1
                unit = int(units[row])
                if any(self._files.equal_records(first, unit) for first in firsts):
                    distinct[row] = False
                else:
                    firsts.append(unit)
        return distinct
