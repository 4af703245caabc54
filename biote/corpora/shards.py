"""A corpus folder, memory-mapped.

Legend: N units asked for. A unit is a row of a shard; units are numbered through all shards in
the order of ``corpus.json``.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from biote.corpora.manifest import ShardInfo, load_info
from biote.corpora.writer import shard_schema
from biote.errors import DataError
from biote.molecules import MOLECULES
from biote.tokenization import Ids, load_tokenizer

Units = npt.NDArray[np.int64]
_AGAIN = "prepare the corpus anew, or copy the folder again"


class ShardColumns:
    """The columns of one shard as views into the mapped file.

    Args:
        path: Shard file.
        info: What ``corpus.json`` says of it.
        dtype: Type of the token ids.

    Raises:
        DataError: If the file is no shard, or not the one that ``corpus.json`` describes.
    """

    __slots__ = (
        "digests",
        "ends_bits",
        "id_bytes",
        "id_offsets",
        "molecules",
        "offsets",
        "residues",
        "starts",
        "tokens",
    )

    def __init__(self, path: Path, info: ShardInfo, dtype: np.dtype[Any]) -> None:
        try:
            with pa.memory_map(str(path)) as source:
                reader = pa.ipc.open_file(source)
                batches = reader.num_record_batches
                batch = reader.get_batch(0) if batches == 1 else None
                if batch is not None and batch.schema == shard_schema(dtype):
                    # Whatever is read unchecked below is safe to read, damaged or not.
                    batch.validate()
                    batch.column("molecule").dictionary.validate(full=True)
        except (pa.ArrowException, OSError) as error:
            raise DataError("not a readable shard", where=str(path), mend=_AGAIN) from error
        if batch is None or batch.schema != shard_schema(dtype):
            raise DataError("not a shard of this corpus", where=str(path), mend=_AGAIN)
        tokens, molecules = batch.column("tokens"), batch.column("molecule")
        if batch.num_rows != info.rows or len(tokens.values) != info.tokens:
            raise DataError(
                f"{batch.num_rows} rows with {len(tokens.values)} tokens, corpus.json says "
                f"{info.rows} with {info.tokens}",
                where=str(path),
                mend=_AGAIN,
            )
        if molecules.dictionary.to_pylist() != [molecule.value for molecule in MOLECULES]:
            raise DataError("written with other molecule types", where=str(path), mend=_AGAIN)
        _, id_offsets, id_bytes = batch.column("record_id").buffers()
        self.offsets = _view(tokens.buffers()[1], np.int64)
        self.tokens: Ids = _view(tokens.values.buffers()[1], dtype)
        self.molecules = _view(molecules.indices.buffers()[1], np.uint8)
        self.digests = _view(batch.column("digest").buffers()[1], np.uint64)
        self.ends_bits = _view(batch.column("ends_record").buffers()[1], np.uint8)
        self.starts = _view(batch.column("start").buffers()[1], np.uint64)
        self.residues = _view(batch.column("residues").buffers()[1], np.uint64)
        self.id_offsets = _view(id_offsets, np.int64)
        self.id_bytes = _view(id_bytes, np.uint8)


def _view(buffer: pa.Buffer | None, dtype: Any) -> npt.NDArray[Any]:
    """A numpy view of an Arrow buffer, which it keeps alive."""
    if buffer is None or buffer.size == 0:
        return np.empty(0, dtype)
    size = buffer.size // np.dtype(dtype).itemsize
    return np.frombuffer(buffer, dtype, count=size)


class Corpus:
    """Token shards of one corpus folder, read without a copy.

    Shards are opened when they are first touched. Nothing is kept per unit, so a corpus of any
    size costs the same memory; a pickled corpus is opened anew where it is unpickled.

    Args:
        folder: Folder made by `biote.corpora.prepare.prepare`.

    Raises:
        DataError: If the folder is no corpus, a shard is missing or has another size than
            ``corpus.json`` says, or the tokenizer in it is not the one that made the shards.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self.info = load_info(self.folder)
        self.tokenizer = load_tokenizer(self.folder)
        if self.tokenizer.fingerprint != self.info.tokenizer_fingerprint:
            raise DataError(
                "the tokenizer in it is not the one that made the shards",
                where=str(self.folder),
                mend=_AGAIN,
            )
        for shard in self.info.shards:
            self._check_size(shard)
        self.fingerprint = self.info.fingerprint
        ends = np.cumsum([0] + [shard.rows for shard in self.info.shards], dtype=np.int64)
        self.n_units = int(ends[-1])
        self._first_units = ends[:-1]
        self._first_list: list[int] = ends[:-1].tolist()  # bisect is faster on a list
        self._dtype = np.dtype(self.info.token_dtype)
        self._opened: list[ShardColumns | None] = [None] * len(self.info.shards)

    def __reduce__(self) -> tuple[type[Corpus], tuple[Path]]:
        return type(self), (self.folder,)

    def lengths(self, units: Units) -> npt.NDArray[np.int64]:
        """Tokens of every unit, (N,).

        Args:
            units: Unit numbers, (N,).

        Raises:
            IndexError: If a number is not that of a unit.
        """
        return self._gather(
            units, np.int64, lambda shard, rows: shard.offsets[rows + 1] - shard.offsets[rows]
        )

    def molecule_codes(self, units: Units) -> npt.NDArray[np.uint8]:
        """Molecule code of every unit, (N,).

        Args:
            units: Unit numbers, (N,).

        Raises:
            IndexError: If a number is not that of a unit.
        """
        return self._gather(units, np.uint8, lambda shard, rows: shard.molecules[rows])

    def ends_record(self, units: Units) -> npt.NDArray[np.bool_]:
        """Whether each unit is the end of its record, (N,).

        Args:
            units: Unit numbers, (N,).

        Raises:
            IndexError: If a number is not that of a unit.
        """
        return self._gather(
            units, np.bool_, lambda shard, rows: shard.ends_bits[rows >> 3] >> (rows & 7) & 1
        )

    def digests(self, units: Units) -> npt.NDArray[np.uint64]:
        """Digest of the canonical sequence of every unit, (N,).

        Args:
            units: Unit numbers, (N,).

        Raises:
            IndexError: If a number is not that of a unit.
        """
        return self._gather(units, np.uint64, lambda shard, rows: shard.digests[rows])

    def residues(self, units: Units) -> npt.NDArray[np.uint64]:
        """Residues or bases of every unit, (N,).

        Args:
            units: Unit numbers, (N,).

        Raises:
            IndexError: If a number is not that of a unit.
        """
        return self._gather(units, np.uint64, lambda shard, rows: shard.residues[rows])

    def tokens(self, unit: int, start: int, stop: int) -> Ids:
        """Bare token ids of a part of a unit, a view into the mapped file.

        Args:
            unit: Unit number.
            start: First token.
            stop: One past the last token.

        Raises:
            IndexError: If the unit has no such part.
        """
        shard, row = self._find(unit)
        begin, end = int(shard.offsets[row]), int(shard.offsets[row + 1])
        if not 0 <= start <= stop <= end - begin:
            raise IndexError(f"tokens {start} to {stop} of unit {unit}, which has {end - begin}")
        return shard.tokens[begin + start : begin + stop]

    def record_id(self, unit: int) -> str:
        """Id of the record a unit belongs to.

        Args:
            unit: Unit number.

        Raises:
            IndexError: If there is no such unit.
        """
        shard, row = self._find(unit)
        return shard.id_bytes[shard.id_offsets[row] : shard.id_offsets[row + 1]].tobytes().decode()

    def shard_units(self) -> Iterator[tuple[int, ShardColumns]]:
        """Yield the first unit number and the columns of every shard, in order.

        Shards that were not open before are not kept open.
        """
        for index, first in enumerate(self._first_list):
            yield first, self._opened[index] or self._open(index)

    def _check_size(self, shard: ShardInfo) -> None:
        path = self.folder / shard.file
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            raise DataError("shard is missing", where=str(path), mend=_AGAIN) from None
        if size != shard.bytes:
            raise DataError(
                f"{size} bytes, corpus.json says {shard.bytes}", where=str(path), mend=_AGAIN
            )

    def _open(self, index: int) -> ShardColumns:
        info = self.info.shards[index]
        return ShardColumns(self.folder / info.file, info, self._dtype)

    def _shard(self, index: int) -> ShardColumns:
        shard = self._opened[index]
        if shard is None:
            shard = self._opened[index] = self._open(index)
        return shard

    def _find(self, unit: int) -> tuple[ShardColumns, int]:
        if not 0 <= unit < self.n_units:
            raise IndexError(f"unit {unit} of a corpus of {self.n_units}")
        index = bisect_right(self._first_list, unit) - 1
        return self._shard(index), int(unit) - self._first_list[index]

    def _gather(
        self,
        units: Units,
        dtype: Any,
        column: Callable[[ShardColumns, Units], npt.NDArray[Any]],
    ) -> npt.NDArray[Any]:
        """Take a column at units of any shards, one vectorised step for every shard."""
        result = np.empty(len(units), dtype)
        if not len(units):
            return result
        if units.min() < 0 or units.max() >= self.n_units:
            raise IndexError(f"units beyond the {self.n_units} of this corpus")
        shard_of = np.searchsorted(self._first_units, units, side="right") - 1
        order = np.argsort(shard_of, kind="stable")
        touched, begins = np.unique(shard_of[order], return_index=True)
        for index, where in zip(touched.tolist(), np.split(order, begins[1:]), strict=True):
            result[where] = column(self._shard(index), units[where] - self._first_units[index])
        return result
