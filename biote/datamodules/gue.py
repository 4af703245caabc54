"""GUE: 28 classification tasks on DNA.

Files: ``gue/GUE/<group>/<task>/{train,dev,test}.csv``, header ``sequence,label``, labels whole
numbers from 0.

Source: Zhou et al., DNABERT-2 (ICLR 2024); paper, Methods (GUE).
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

from biote.datamodules.base import LabelledDataModule
from biote.datamodules.published import (
    Record,
    class_label,
    find_folder,
    missing_data,
    read_labelled_csv,
    sequence_group,
    settle_published_leaks,
)
from biote.datamodules.rows import Row, Split
from biote.errors import ConfigError, DataError
from biote.molecules import Molecule, canonical_sequence
from biote.splits import sequence_digest, validation_threshold

GUE_CLASSES: Final[dict[str, int]] = {
    **{
        f"EMP/{mark}": 2
        for mark in (
            "H3", "H3K14ac", "H3K36me3", "H3K4me1", "H3K4me2", "H3K4me3", "H3K79me3", "H3K9ac",
            "H4", "H4ac",
        )
    },
    **{f"mouse/{number}": 2 for number in range(5)},
    **{
        f"prom/prom_{kind}": 2
        for kind in ("300_all", "300_notata", "300_tata", "core_all", "core_notata", "core_tata")
    },
    "splice/reconstructed": 3,
    **{f"tf/{number}": 2 for number in range(5)},
    "virus/covid": 9,
}  # fmt: skip
"""Number of classes of every task."""

FILE_OF: Final[dict[Split, str]] = {"train": "train", "validation": "dev", "test": "test"}
DEV_VALIDATION_SHARE: Final = 0.1
"""Share of the sequences of dev.csv that is validated on where the rest is trained on."""


class GueDataModule(LabelledDataModule):
    """One task of GUE with its published split.

    A row is ``<DNA>sequence<EOS>``. The published split is kept as it is: sequences that stand on
    two sides are counted and logged.

    Args:
        root: Folder with ``gue/GUE``, or that folder itself.
        tokenizer: ``character`` or a tokenizer, corpus or encoder folder; null takes that of
            ``model.encoder_checkpoint``.
        task: ``<group>/<task>`` as the folders are named, ``prom/prom_core_tata`` say.
        batch_size: Rows of an optimiser step.
        drop_leaks: Whether training rows whose sequence is in dev or test, and dev rows whose
            sequence is in test, are left out. The test rows stay as published.
        train_on: ``train`` trains on train.csv. ``dev`` trains on nine tenths of the sequences of
            dev.csv and validates on the rest, for a task whose train.csv is not there: results
            then carry another name, because they are no score of GUE.
        context: Most tokens of a row.
        seed: Chooses the order of training rows.
        num_workers: Processes that build batches.

    Source: paper, Methods (GUE).
    """

    unit = ""
    target_kind = "classification"

    def __init__(
        self,
        root: Path,
        tokenizer: str | None = None,
        *,
        task: str,
        batch_size: int,
        drop_leaks: bool = False,
        train_on: Literal["train", "dev"] = "train",
        context: int = 1024,
        seed: int = 0,
        num_workers: int = 0,
    ) -> None:
        super().__init__(
            tokenizer, context=context, batch_size=batch_size, seed=seed, num_workers=num_workers
        )
        if task not in GUE_CLASSES:
            near = difflib.get_close_matches(task, GUE_CLASSES, n=1, cutoff=0.4)
            known = f"did you mean {near[0]}?" if near else f"tasks: {', '.join(GUE_CLASSES)}"
            raise ConfigError(f"GUE has no task {task!r}", where="data.task", mend=known)
        self.benchmark = f"gue/{task}" + (" (trained on dev)" if train_on == "dev" else "")
        self._root = Path(root)
        self._task = task
        self._drop_leaks = drop_leaks
        self._train_on = train_on

    @property
    def n_outputs(self) -> int:
        return GUE_CLASSES[self._task]

    def locate(self) -> None:
        for path in self._paths().values():
            if not path.is_file():
                raise missing_data(path, root=self._root, dataset="gue")

    def read_rows(self) -> dict[Split, list[Row]]:
        self.locate()
        paths = self._paths()
        rows = {split: self._read(path) for split, path in paths.items()}
        if self._train_on == "train":
            return rows
        threshold = validation_threshold(DEV_VALIDATION_SHARE)
        validated = {
            row.id for row in rows["validation"]
            if sequence_digest(row.parts[0][0].encode()) < threshold
        }  # fmt: skip
        dev = rows["validation"]
        return {
            "train": [row for row in dev if row.id not in validated],
            "validation": [row for row in dev if row.id in validated],
            "test": rows["test"],
        }

    def settle_leaks(self, rows: Mapping[Split, list[Row]]) -> dict[Split, list[Row]]:
        return settle_published_leaks(rows, benchmark=self.benchmark, drop=self._drop_leaks)

    def _paths(self) -> dict[Split, Path]:
        folder = find_folder(self._root, "gue", "GUE", holding=self._task) / self._task
        return {
            split: folder / f"{name}.csv"
            for split, name in FILE_OF.items()
            if split != "train" or self._train_on == "train"
        }

    def _read(self, path: Path) -> list[Row]:
        records = read_labelled_csv(path, sequence_column="sequence", label_column="label")
        rows = [self._row(record, path.stem) for record in records]
        if not rows:
            raise DataError("no row", where=str(path), mend="fetch the file anew")
        return rows

    def _row(self, record: Record, name: str) -> Row:
        if not record.sequence:
            raise DataError("no sequence", where=record.where, mend="drop the line")
        sequence = canonical_sequence(record.sequence, Molecule.DNA, record=record.where)
        return Row(
            id=f"{name}:{record.number}",
            parts=((sequence, Molecule.DNA),),
            target=class_label(record, self.n_outputs),
            group=sequence_group(sequence),
        )
