"""Folds of whole groups, and the file they are written down in."""

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

FOLD_FORMAT_VERSION: Final = 2

ALWAYS_TRAIN: Final = -1
"""Fold of rows that are never tested or validated on."""

_REMAKE: Final = "delete the file and let biote make it anew"


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
        DataError: If columns differ in length, a row occurs twice, a fold is empty, or a group,
            a cluster or (where proteins are grouped) a protein has two folds.
    """

    benchmark: str
    rule: str
    """How rows were grouped: ``protein``, ``paper``, ``cluster``, or what a table groups by."""
    threshold: float | None
    """Score above which proteins count as similar; None where they were not aligned."""
    seed: int
    folds: int
    data_fingerprint: str
    row_ids: tuple[str, ...]
    groups: tuple[str, ...]
    clusters: tuple[str, ...]
    """Groups that are similar to each other share one; the group itself if none were aligned."""
    proteins: tuple[str | None, ...]
    """Protein of every row; None where a row has none, or several."""
    assignment: tuple[int, ...]
    """Test fold of every row, or `ALWAYS_TRAIN`."""

    def __post_init__(self) -> None:
        columns = (self.row_ids, self.groups, self.clusters, self.proteins, self.assignment)
        if len({len(column) for column in columns}) != 1:
            raise DataError("fold columns differ in length", where=self.benchmark)
        if len(set(self.row_ids)) != len(self.row_ids):
            row, times = Counter(self.row_ids).most_common(1)[0]
            raise DataError(f"row {row} occurs {times} times in the folds", where=self.benchmark)
        for row, fold in zip(self.row_ids, self.assignment, strict=True):
            if fold != ALWAYS_TRAIN and not 0 <= fold < self.folds:
                raise DataError(
                    f"fold {fold} of row {row} is not one of {self.folds}", where=self.benchmark
                )
        empty = set(range(self.folds)) - set(self.assignment)
        if empty:
            raise DataError(f"fold {min(empty)} has no row", where=self.benchmark, mend=_REMAKE)
        self._refuse_two_sides("group", self.groups)
        self._refuse_two_sides("cluster", self.clusters)
        if self.rule in ("protein", "paper", "cluster"):
            self._refuse_two_sides("protein", self.proteins)

    def _refuse_two_sides(self, what: str, names: Sequence[str | None]) -> None:
        fold_of: dict[str, int] = {}
        for row, name, fold in zip(self.row_ids, names, self.assignment, strict=True):
            if name is not None and fold_of.setdefault(name, fold) != fold:
                shown = name if len(name) <= 20 else f"{name[:20]}..."
                raise DataError(
                    f"{what} {shown} of row {row} stands in {_side(fold_of[name])} and "
                    f"{_side(fold)}: training would see test data",
                    where=self.benchmark,
                    mend=_REMAKE,
                )

    @property
    def hash(self) -> str:
        """SHA-256 over everything in the assignment."""
        settings = ("benchmark", "rule", "threshold", "seed", "folds", "data_fingerprint")
        columns = (self.row_ids, self.groups, self.clusters, self.proteins, self.assignment)
        rows = sorted(zip(*columns, strict=True), key=lambda row: row[0])
        content = {name: getattr(self, name) for name in settings} | {"rows": rows}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    @property
    def fold_of(self) -> dict[str, int]:
        """Fold by row id; `ALWAYS_TRAIN` for rows that no fold tests."""
        return dict(zip(self.row_ids, self.assignment, strict=True))

    def save(self, path: Path) -> None:
        """Write the fold file (Parquet: a line a row; the rest as metadata).

        Args:
            path: Where it shall stand.
        """
        table = pa.table(
            {
                "row_id": pa.array(self.row_ids, pa.string()),
                "group": pa.array(self.groups, pa.string()),
                "cluster": pa.array(self.clusters, pa.string()),
                "protein": pa.array(self.proteins, pa.string()),
                "fold": pa.array(self.assignment, pa.int32()),
            },
            metadata={
                "format_version": str(FOLD_FORMAT_VERSION),
                "benchmark": self.benchmark,
                "rule": self.rule,
                "threshold": "" if self.threshold is None else repr(self.threshold),
                "seed": str(self.seed),
                "folds": str(self.folds),
                "data_fingerprint": self.data_fingerprint,
                "hash": self.hash,
            },
        )
        with atomic_path(path) as partial:
            pq.write_table(table, partial)

    def check(
        self,
        *,
        benchmark: str,
        rule: str,
        threshold: float | None,
        data_fingerprint: str,
        group_of: Mapping[str, str],
        protein_of: Mapping[str, str | None],
    ) -> None:
        """Refuse folds that do not fit the data they are used with.

        Args:
            benchmark: Benchmark that is run.
            rule: Grouping rule that is asked for.
            threshold: Similarity threshold that is asked for; None if the rule has none.
            data_fingerprint: Fingerprint of the rows that are there.
            group_of: Group by row id, computed from the data.
            protein_of: Protein by row id, from the data.

        Raises:
            DataError: If benchmark, rule, threshold, rows, groups or proteins differ.
        """
        mend = "delete the fold file to make it anew, or name another with data.fold_file"
        for name, there, wanted in (
            ("benchmark", self.benchmark, benchmark),
            ("rule", self.rule, rule),
            ("threshold", self.threshold, threshold),
            ("data fingerprint", self.data_fingerprint, data_fingerprint),
        ):
            if there != wanted:
                raise DataError(
                    f"made for {name} {there}, not {wanted}", where="fold file", mend=mend
                )
        for name, column, wanted_of in (
            ("groups", self.groups, group_of),
            ("proteins", self.proteins, protein_of),
        ):
            if dict(zip(self.row_ids, column, strict=True)) != dict(wanted_of):
                raise DataError(
                    f"its {name} are not those of the data", where="fold file", mend=mend
                )


def load_folds(path: Path) -> FoldAssignment:
    """Read a fold file.

    Args:
        path: Parquet file written by `FoldAssignment.save`.

    Raises:
        DataError: If the file cannot be read, is of another format, was changed after it was
            written, or has a group or a cluster in two folds.
    """
    try:
        table = pq.read_table(path)
        meta: dict[str, Any] = {
            key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()
        }
        version = int(meta["format_version"])
        if version != FOLD_FORMAT_VERSION:
            raise DataError(
                f"a fold file of format {version}, not {FOLD_FORMAT_VERSION}",
                where=str(path),
                mend=_REMAKE,
            )
        folds = FoldAssignment(
            benchmark=meta["benchmark"],
            rule=meta["rule"],
            threshold=float(meta["threshold"]) if meta["threshold"] else None,
            seed=int(meta["seed"]),
            folds=int(meta["folds"]),
            data_fingerprint=meta["data_fingerprint"],
            row_ids=tuple(table["row_id"].to_pylist()),
            groups=tuple(table["group"].to_pylist()),
            clusters=tuple(table["cluster"].to_pylist()),
            proteins=tuple(table["protein"].to_pylist()),
            assignment=tuple(table["fold"].to_pylist()),
        )
    except (pa.ArrowInvalid, KeyError, TypeError, ValueError) as error:
        raise DataError("not a fold file", where=str(path), mend=_REMAKE) from error
    if meta.get("hash") != folds.hash:
        raise DataError(
            "changed after it was written: its hash does not fit",
            where=str(path),
            mend=_REMAKE,
        )
    return folds


def _side(fold: int) -> str:
    return "training for good" if fold == ALWAYS_TRAIN else f"fold {fold}"
