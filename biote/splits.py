"""Who is in training and who is not: hash-based validation, folds of whole groups, fold files.

A split is decided once, written down with its hash, and refused by every later run if a group
stands on two sides of it.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from biote.atomic import atomic_path
from biote.errors import DataError

FOLD_FORMAT_VERSION: Final = 1
_HASH_RANGE: Final = 2**64


def sequence_digest(canonical: bytes) -> int:
    """64-bit hash of a canonical sequence: equal sequences, equal side of any split.

    Args:
        canonical: Canonical letters (see `biote.molecules.canonical_bytes`).
    """
    return int.from_bytes(hashlib.blake2b(canonical, digest_size=8).digest(), "little")


def validation_threshold(fraction: float) -> int:
    """Digests below this number are validation.

    Args:
        fraction: Expected share of distinct sequences, 0 to 1 (1 not included).

    Raises:
        DataError: If the fraction is out of range.
    """
    if not 0 <= fraction < 1:
        raise DataError(
            f"{fraction} is no share of the sequences",
            where="validation fraction",
            mend="give a number from 0 to below 1",
        )
    return int(fraction * _HASH_RANGE)


def assign_folds(groups: Sequence[str], folds: int, *, seed: int) -> list[int]:
    """Deal whole groups into folds of about the same number of rows.

    The largest group goes first, always into the fold with the fewest rows; equal sizes are
    ordered by a hash of seed and group, so the result depends on nothing but its arguments.

    Args:
        groups: Group of every row.
        folds: Number of folds.
        seed: Changes which groups meet in a fold.

    Returns:
        Fold of every row, 0 to ``folds - 1``.

    Raises:
        DataError: If there are fewer groups than folds.
    """
    sizes = Counter(groups)
    if len(sizes) < folds or folds < 2:
        raise DataError(
            f"{len(sizes)} groups cannot make {folds} folds",
            where="folds",
            mend="ask for at least 2 folds and at most as many as there are groups",
        )

    def order(group: str) -> tuple[int, bytes]:
        return -sizes[group], hashlib.blake2b(f"{seed}:{group}".encode(), digest_size=8).digest()

    rows_in_fold = np.zeros(folds, np.int64)
    fold_of: dict[str, int] = {}
    for group in sorted(sizes, key=order):
        fold_of[group] = int(np.argmin(rows_in_fold))
        rows_in_fold[fold_of[group]] += sizes[group]
    return [fold_of[group] for group in groups]


@dataclass(frozen=True, kw_only=True)
class FoldAssignment:
    """The fold of every row of a benchmark.

    Raises:
        DataError: If columns differ in length, a row occurs twice, or a group has two folds.
    """

    benchmark: str
    rule: str
    """How rows were grouped, for example ``exact-sequence``."""
    seed: int
    folds: int
    data_fingerprint: str
    row_ids: tuple[str, ...]
    groups: tuple[str, ...]
    assignment: tuple[int, ...]

    def __post_init__(self) -> None:
        if not len(self.row_ids) == len(self.groups) == len(self.assignment):
            raise DataError("fold columns differ in length", where=self.benchmark)
        if len(set(self.row_ids)) != len(self.row_ids):
            row, times = Counter(self.row_ids).most_common(1)[0]
            raise DataError(f"row {row} occurs {times} times in the folds", where=self.benchmark)
        fold_of: dict[str, int] = {}
        for row, group, fold in zip(self.row_ids, self.groups, self.assignment, strict=True):
            if not 0 <= fold < self.folds:
                raise DataError(
                    f"fold {fold} of row {row} is not one of {self.folds}", where=self.benchmark
                )
            if fold_of.setdefault(group, fold) != fold:
                raise DataError(
                    f"group {group} of row {row} stands in folds {fold_of[group]} and {fold}: "
                    "training would see test data",
                    where=self.benchmark,
                    mend="delete the fold file and let biote make it anew",
                )

    @property
    def hash(self) -> str:
        """SHA-256 over everything in the assignment."""
        content = {
            name: getattr(self, name)
            for name in ("benchmark", "rule", "seed", "folds", "data_fingerprint")
        } | {"rows": sorted(zip(self.row_ids, self.groups, self.assignment, strict=True))}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    @property
    def fold_of(self) -> dict[str, int]:
        """Fold by row id."""
        return dict(zip(self.row_ids, self.assignment, strict=True))

    def save(self, path: Path) -> None:
        """Write the fold file (Parquet: row_id, group, fold; the rest as metadata)."""
        table = pa.table(
            {
                "row_id": pa.array(self.row_ids, pa.string()),
                "group": pa.array(self.groups, pa.string()),
                "fold": pa.array(self.assignment, pa.int32()),
            },
            metadata={
                "format_version": str(FOLD_FORMAT_VERSION),
                "benchmark": self.benchmark,
                "rule": self.rule,
                "seed": str(self.seed),
                "folds": str(self.folds),
                "data_fingerprint": self.data_fingerprint,
                "hash": self.hash,
            },
        )
        with atomic_path(path) as partial:
            pq.write_table(table, partial)

    def check(
        self, *, benchmark: str, rule: str, data_fingerprint: str, group_of: Mapping[str, str]
    ) -> None:
        """Refuse folds that do not fit the data they are used with.

        Args:
            benchmark: Benchmark that is run.
            rule: Grouping rule that is asked for.
            data_fingerprint: Fingerprint of the rows that are there.
            group_of: Group by row id, computed from the data.

        Raises:
            DataError: If benchmark, rule, rows or groups differ.
        """
        mend = "delete the fold file to make it anew, or name another with data.fold_file"
        for name, there, wanted in (
            ("benchmark", self.benchmark, benchmark),
            ("rule", self.rule, rule),
            ("data fingerprint", self.data_fingerprint, data_fingerprint),
        ):
            if there != wanted:
                raise DataError(
                    f"made for {name} {there}, not {wanted}", where="fold file", mend=mend
                )
        if dict(zip(self.row_ids, self.groups, strict=True)) != dict(group_of):
            raise DataError("its groups are not those of the data", where="fold file", mend=mend)


def load_folds(path: Path) -> FoldAssignment:
    """Read a fold file.

    Args:
        path: Parquet file written by `FoldAssignment.save`.

    Raises:
        DataError: If the file cannot be read, was changed after it was written, or has a group
            in two folds.
    """
    try:
        table = pq.read_table(path)
        meta: dict[str, Any] = {
            key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()
        }
        folds = FoldAssignment(
            benchmark=meta["benchmark"],
            rule=meta["rule"],
            seed=int(meta["seed"]),
            folds=int(meta["folds"]),
            data_fingerprint=meta["data_fingerprint"],
            row_ids=tuple(table["row_id"].to_pylist()),
            groups=tuple(table["group"].to_pylist()),
            assignment=tuple(table["fold"].to_pylist()),
        )
    except (pa.ArrowInvalid, KeyError, ValueError) as error:
        raise DataError(
            "not a fold file", where=str(path), mend="delete it and let biote make it anew"
        ) from error
    if meta.get("hash") != folds.hash:
        raise DataError(
            "changed after it was written: its hash does not fit",
            where=str(path),
            mend="delete it and let biote make it anew",
        )
    return folds
