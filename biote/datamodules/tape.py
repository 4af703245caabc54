"""TAPE's tasks with one label a protein: stability, fluorescence and remote homology.

Files, in the folder ``tape``: TAPE's own ``<task>/<task>_<set>.lmdb`` or ``.json`` with the fields
``primary`` and ``stability_score``, ``log_fluorescence`` or ``fold_label``, or CSV
``<task>.<set>.csv`` with the header ``seq,label``.

Source: Rao et al., TAPE (NeurIPS 2019); paper, Methods (TAPE).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final, Literal, get_args

from biote.datamodules.base import LabelledDataModule
from biote.datamodules.published import (
    Record,
    class_label,
    find_folder,
    sequence_group,
    settle_published_leaks,
)
from biote.datamodules.rows import Row, Split, TargetKind, rows_fingerprint
from biote.datamodules.tape_files import find_sets, missing_set, read_tape
from biote.errors import ConfigError, DataError
from biote.molecules import Molecule, canonical_sequence

TapeTask = Literal["stability", "fluorescence", "remote_homology"]
TestSet = Literal["test", "fold_holdout", "superfamily_holdout", "family_holdout"]

HOMOLOGY_FOLDS: Final = 1195
HOMOLOGY_SETS: Final[tuple[TestSet, ...]] = (
    "fold_holdout",
    "superfamily_holdout",
    "family_holdout",
)


@dataclass(frozen=True)
class _Task:
    field: str
    kind: TargetKind
    classes: int
    tests: tuple[TestSet, ...]


_TASKS: Final[dict[TapeTask, _Task]] = {
    "stability": _Task("stability_score", "regression", 1, ("test",)),
    "fluorescence": _Task("log_fluorescence", "regression", 1, ("test",)),
    "remote_homology": _Task("fold_label", "classification", HOMOLOGY_FOLDS, HOMOLOGY_SETS),
}
# The fold hold-out is the test set of conversions that have only one.
_NAMES: Final[dict[str, tuple[str, ...]]] = {
    "train": ("train",),
    "validation": ("valid",),
    "test": ("test",),
    "fold_holdout": ("test_fold_holdout", "test"),
    "superfamily_holdout": ("test_superfamily_holdout",),
    "family_holdout": ("test_family_holdout",),
}


class TapeDataModule(LabelledDataModule):
    """One of TAPE's sequence-level tasks with its published split.

    A row is ``<protein>sequence<EOS>``. The published split is kept as it is: sequences that
    stand on two sides are counted and logged.

    Args:
        root: Folder with ``tape``, or that folder itself.
        tokenizer: ``character`` or a tokenizer, corpus or encoder folder; null takes that of
            ``model.encoder_checkpoint``.
        task: ``stability``, ``fluorescence`` or ``remote_homology``.
        batch_size: Rows of an optimiser step.
        test_set: What is tested: of remote homology ``fold_holdout`` (also where null),
            ``superfamily_holdout`` or ``family_holdout``; a checkpoint can be tested on each.
        drop_leaks: Whether training rows whose sequence is in validation or any test set, and
            validation rows whose sequence is in any test set, are left out.
        context: Most tokens of a row; longer proteins are trimmed at their end and counted.
        seed: Chooses the order of training rows.
        num_workers: Processes that build batches.

    Source: paper, Methods (TAPE).
    """

    unit = ""

    def __init__(
        self,
        root: Path,
        tokenizer: str | None = None,
        *,
        task: TapeTask,
        batch_size: int,
        test_set: TestSet | None = None,
        drop_leaks: bool = False,
        context: int = 1024,
        seed: int = 0,
        num_workers: int = 0,
    ) -> None:
        super().__init__(
            tokenizer, context=context, batch_size=batch_size, seed=seed, num_workers=num_workers
        )
        if task not in get_args(TapeTask):
            known = ", ".join(get_args(TapeTask))
            raise ConfigError(f"no task {task!r}", where="data.task", mend=f"give one of {known}")
        self._spec = _TASKS[task]
        self._test_set: TestSet = test_set or self._spec.tests[0]
        if self._test_set not in self._spec.tests:
            raise ConfigError(
                f"{task} has no test set {test_set!r}",
                where="data.test_set",
                mend=f"give one of {', '.join(self._spec.tests)}",
            )
        self.benchmark = f"tape/{task}"
        self.target_kind = self._spec.kind
        self.tested = self._test_set
        self._root = Path(root)
        self._task: TapeTask = task
        self._drop_leaks = drop_leaks

    @property
    def n_outputs(self) -> int:
        return self._spec.classes

    def evaluation_options(self) -> dict[str, str]:
        return {"test_set": self._test_set}

    def locate(self) -> None:
        self._sets()

    def read_rows(self) -> dict[Split, list[Row]]:
        paths = self._sets()
        return {
            "train": self._read(paths["train"], "train"),
            "validation": self._read(paths["validation"], "valid"),
            "test": self._read(paths[self._test_set], self._test_set),
        }

    def settle_leaks(self, rows: Mapping[Split, list[Row]]) -> dict[Split, list[Row]]:
        other = [name for name in self._spec.tests if name != self._test_set]
        held_out = [row for name in other if self._drop_leaks for row in self._other(name)]
        return settle_published_leaks(
            rows, benchmark=self.benchmark, drop=self._drop_leaks, held_out=held_out
        )

    @cached_property
    def split_fingerprint(self) -> str:
        """SHA-256 over what is trained and validated on; every published test set fits it."""
        parts = [rows_fingerprint(self.rows(split)) for split in ("train", "validation")]
        return hashlib.sha256("".join(parts).encode()).hexdigest()

    def _folder(self) -> Path:
        return find_folder(self._root, "tape", holding=f"{self._task}*")

    def _sets(self) -> dict[str, Path]:
        """Files of every set; what is trained on is the same whatever is tested."""
        found: dict[str, Path] = {}
        for names in (("train", "validation"), (self._test_set,)):
            files = find_sets(self._folder(), self._task, {name: _NAMES[name] for name in names})
            if files is None:
                file_name = f"{self._task}_{_NAMES[names[0]][0]}.lmdb"
                expected = self._folder() / self._task / file_name
                raise missing_set(expected, folder=self._folder(), task=self._task, root=self._root)
            found |= files
        return found

    def _other(self, name: TestSet) -> Iterable[Row]:
        """Rows of another test set, none where it is not there."""
        found = find_sets(self._folder(), self._task, {name: _NAMES[name]})
        return self._read(found[name], name) if found is not None else []

    def _read(self, path: Path, name: str) -> list[Row]:
        rows = [self._row(record, name) for record in read_tape(path, field=self._spec.field)]
        if not rows:
            raise DataError("no row", where=str(path), mend="fetch the file anew")
        return rows

    def _row(self, record: Record, name: str) -> Row:
        if not record.sequence:
            raise DataError("no sequence", where=record.where, mend="drop the record")
        sequence = canonical_sequence(record.sequence, Molecule.PROTEIN, record=record.where)
        return Row(
            id=f"{name}:{record.number}",
            parts=((sequence, Molecule.PROTEIN),),
            target=self._target(record),
            group=sequence_group(sequence),
        )

    def _target(self, record: Record) -> tuple[float, ...]:
        if self.target_kind == "classification":
            return class_label(record, self.n_outputs)
        try:
            number = float(record.label)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise DataError(
                f"label {record.label!r} is no finite number",
                where=record.where,
                mend="correct it or drop the record",
            )
        return (number,)
