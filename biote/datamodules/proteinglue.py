"""ProteinGLUE: seven tasks with one label a residue.

Files, in the folder ``proteinglue``: TFRecord as the authors publish them, or CSV with the same
names as columns: ``sequence`` and ``ss3``, ``ss8``, ``buried``, ``solvent_accessibility``,
``interface`` or ``hp_rank``. A file belongs to a task and a split by the words of its name:
``train-ss3.tfrecord``, ``val_ss3.csv``. A split is one file, of protein-protein interfaces one or
more.

Source: Capel et al., ProteinGLUE (Scientific Reports 2022); paper, Methods (ProteinGLUE).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal, get_args

from biote.alignment import Labels
from biote.datamodules.published import missing_data
from biote.datamodules.published_residues import PublishedResidueDataModule
from biote.datamodules.residue_files import read_table, read_tfrecord
from biote.datamodules.residue_labels import (
    Alphabet,
    ResidueRecord,
    letters,
    residue_row,
    scaled,
    value_labels,
)
from biote.datamodules.residues import ResidueRow
from biote.datamodules.rows import SPLITS, Row, Split
from biote.datamodules.secondary_structure import SS3, SS8
from biote.errors import ConfigError, DataError
from biote.residue_batch import ResidueKind

logger = logging.getLogger(__name__)

GlueTask = Literal["ss3", "ss8", "buried", "solvent_accessibility", "ppi", "epitope", "patch_rank"]

_YES: Final = letters("0", "1")


@dataclass(frozen=True)
class _Task:
    field: str
    kind: ResidueKind
    words: tuple[str, ...]
    """Words by one of which file names tell the task."""

    alphabet: Alphabet | None = None
    """Letters of classes; values have none."""


_TASKS: Final[dict[GlueTask, _Task]] = {
    "ss3": _Task("ss3", "classes", ("ss3", "ss8", "ss"), SS3),
    "ss8": _Task("ss8", "classes", ("ss8", "ss3", "ss"), SS8),
    "buried": _Task("buried", "binary", ("bur", "buried", "asa"), _YES),
    "solvent_accessibility": _Task("solvent_accessibility", "values", ("asa", "bur", "buried")),
    "ppi": _Task("interface", "binary", ("ppi",), _YES),
    "epitope": _Task("interface", "binary", ("epi", "epitope"), _YES),
    "patch_rank": _Task("hp_rank", "values", ("hpcr", "hpr", "hpc", "hp")),
}
_SPLIT_WORDS: Final[dict[Split, tuple[str, ...]]] = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
_ENDINGS: Final = ((".tfrecord", ".tfrecords"), (".csv",))
"""Of each form; files of one form are read, the first that has all splits."""

_UNKNOWN: Final = "'"
"""Stands in published sequences for a residue that is not known."""


class ProteinGlueDataModule(PublishedResidueDataModule):
    """One task of ProteinGLUE with its published split.

    A row is ``<protein>sequence<EOS>``. Values are scaled so that the least label of the training
    residues is 0 and the greatest 1; negative ones mark residues without a label.

    Args:
        root: Folder with ``proteinglue``, or that folder itself.
        tokenizer: ``character`` or a tokenizer, corpus or encoder folder; null takes that of
            ``model.encoder_checkpoint``.
        task: ``ss3``, ``ss8``, ``buried`` (under 7 % of the surface accessible),
            ``solvent_accessibility``, ``ppi``, ``epitope`` or ``patch_rank``.
        batch_size: Rows of an optimiser step.
        field: Name of the labels in the files, where it is not the task's usual one.
        drop_leaks: Whether training rows whose sequence is in validation or test, and validation
            rows whose sequence is in test, are left out.
        context: Most tokens of a row; longer proteins are trimmed at their end and counted.
        seed: Chooses the order of training rows.
        num_workers: Processes that build batches.

    Source: paper, Methods (ProteinGLUE).
    """

    def __init__(
        self,
        root: Path,
        tokenizer: str | None = None,
        *,
        task: GlueTask,
        batch_size: int,
        field: str | None = None,
        drop_leaks: bool = False,
        context: int = 2048,
        seed: int = 0,
        num_workers: int = 0,
    ) -> None:
        super().__init__(
            root,
            tokenizer,
            batch_size=batch_size,
            drop_leaks=drop_leaks,
            context=context,
            seed=seed,
            num_workers=num_workers,
        )
        if task not in get_args(GlueTask):
            known = ", ".join(get_args(GlueTask))
            raise ConfigError(f"no task {task!r}", where="data.task", mend=f"give one of {known}")
        spec = _TASKS[task]
        self.benchmark = f"proteinglue/{task}"
        self.residue_kind = spec.kind
        self.output_names = (
            spec.alphabet.classes if spec.alphabet and spec.kind == "classes" else (task,)
        )
        self._task: GlueTask = task
        self._spec = spec
        self._field = field or spec.field

    def locate(self) -> None:
        self._paths()

    def read_rows(self) -> dict[Split, list[Row]]:
        read = {split: self._read(paths, split) for split, paths in self._paths().items()}
        if self._spec.kind == "values":
            train = read["train"]
            read = {split: scaled(rows, by=train) for split, rows in read.items()}
        return {split: list(rows) for split, rows in read.items()}

    def _paths(self) -> dict[Split, list[Path]]:
        """Files of every split; several where a task is published in parts, as interfaces are."""
        below = self._root / "proteinglue"
        folder = self._root if self._root.name == "proteinglue" and not below.is_dir() else below
        # A folder that is called otherwise may hold anything below it.
        paths = sorted(folder.rglob("*") if folder.is_dir() else self._root.glob("*"))
        for word in self._spec.words:
            for endings in _ENDINGS:
                found = {split: _files(paths, word, split, endings) for split in SPLITS}
                if all(found.values()):
                    self._refuse_several(found)
                    return found
        expected = folder / f"train-{self._spec.words[0]}.tfrecord"
        raise missing_data(expected, root=self._root, dataset="proteinglue")

    def _refuse_several(self, found: Mapping[Split, list[Path]]) -> None:
        """A second file of a split would add its rows, which may be those of the first."""
        for split, paths in found.items():
            if len(paths) > 1 and self._task != "ppi":
                raise DataError(
                    f"{len(paths)} files of {split}: {', '.join(map(str, paths))}",
                    where="data.root",
                    mend="leave one there",
                )

    def _read(self, paths: list[Path], split: Split) -> list[ResidueRow]:
        rows: list[ResidueRow] = []
        unknown = 0
        for path in paths:
            for record in self._records(path):
                unknown += record.sequence.count(_UNKNOWN)
                read = replace(record, sequence=record.sequence.replace(_UNKNOWN, "X"))
                rows.append(residue_row(read, self._labels(read), name=path.stem))
        if unknown:
            logger.info(
                "%s: %d residues of %s are written %s and read as X.",
                self.benchmark,
                unknown,
                split,
                _UNKNOWN,
            )
        if not rows:
            raise DataError(f"no {split} row", where=str(paths[0]), mend="fetch the file anew")
        return rows

    def _records(self, path: Path) -> Iterator[ResidueRecord]:
        if path.suffix == ".csv":
            return read_table(path, sequence="sequence", label=self._field)
        return read_tfrecord(path, label=self._field)

    def _labels(self, record: ResidueRecord) -> Labels:
        if self._spec.alphabet is not None:
            return self._spec.alphabet.labels(record)
        return value_labels(record, lowest=0.0)


def _files(paths: Iterable[Path], word: str, split: Split, endings: tuple[str, ...]) -> list[Path]:
    """Files whose names have a word and one for the split among their words."""
    found = []
    for path in paths:
        words = set(re.split(r"[^a-z0-9]+", path.stem.lower()))
        if path.suffix in endings and word in words and words & set(_SPLIT_WORDS[split]):
            found.append(path)
    return found
