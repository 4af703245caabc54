"""TAPE's secondary structure: the state of every residue, of three or of eight.

Files, in the folder ``tape``: TAPE's own ``secondary_structure/secondary_structure_<set>.lmdb`` or
``.json`` with the fields ``primary``, ``ss3`` and ``ss8``, or CSV ``secondary_structure.<set>.csv``
with the header ``seq,label`` and one digit a residue (three states). The sets are ``train``,
``valid``, ``cb513``, ``casp12`` and ``ts115``.

States are numbered as in NetSurfP-2.0, whose chains these are: G H I B E S T C, that is helices,
strands, others; three states are helix, strand and other. FLIP publishes most of the training
chains, too: ``flip_secondary_structure_splits.zip``, its ``splits.zip`` (three states).

Source: Rao et al., TAPE (NeurIPS 2019); paper, Methods (TAPE).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, Literal, get_args

import numpy as np

from biote.datamodules.flip import read_flip
from biote.datamodules.published import find_folder
from biote.datamodules.published_residues import PublishedResidueDataModule, with_validation
from biote.datamodules.residue_files import read_tape_residues
from biote.datamodules.residue_labels import Alphabet, letters, residue_row
from biote.datamodules.rows import Row, Split
from biote.datamodules.tape_files import find_sets, missing_set
from biote.errors import ConfigError, DataError

logger = logging.getLogger(__name__)

TestSet = Literal["cb513", "casp12", "ts115"]
TrainingSet = Literal["train", "valid", "flip"]

SS3: Final = letters("H0", "E1", "C2")
SS8: Final = letters("G0", "H1", "I2", "B3", "E4", "S5", "T6", "C7")

_OF_EIGHT: Final = np.array([0, 0, 0, 1, 1, 2, 2, 2])
"""State of three that each of the eight belongs to."""

_TASK: Final = "secondary_structure"
_FLIP_FILE: Final = "flip_secondary_structure_splits.zip"
# CB513 is the test set of conversions that have only one.
_NAMES: Final[dict[str, tuple[str, ...]]] = {
    "train": ("train",),
    "validation": ("valid",),
    "cb513": ("cb513", "test"),
    "casp12": ("casp12",),
    "ts115": ("ts115",),
}


class SecondaryStructureDataModule(PublishedResidueDataModule):
    """Secondary structure of residues, with TAPE's split and test sets.

    A row is ``<protein>sequence<EOS>``.

    Args:
        root: Folder with ``tape``, or that folder itself.
        tokenizer: ``character`` or a tokenizer, corpus or encoder folder; null takes that of
            ``model.encoder_checkpoint``.
        states: 3 or 8.
        batch_size: Rows of an optimiser step.
        test_set: What is tested: ``cb513``, ``casp12`` or ``ts115``; a checkpoint can be tested
            on each.
        train_on: ``train`` trains on the training set. ``valid`` trains on nine tenths of the
            sequences of the validation set and validates on the rest, where no training set is
            there. ``flip`` trains on FLIP's training chains without those whose sequence is
            validated or tested on. Results of both carry another name, because they are no score
            of TAPE.
        drop_leaks: Whether training rows whose sequence is in validation or any test set, and
            validation rows whose sequence is in any test set, are left out.
        context: Most tokens of a row; longer proteins are trimmed at their end and counted.
        seed: Chooses the order of training rows.
        num_workers: Processes that build batches.

    Source: paper, Methods (TAPE).
    """

    residue_kind = "classes"

    def __init__(
        self,
        root: Path,
        tokenizer: str | None = None,
        *,
        states: Literal[3, 8],
        batch_size: int,
        test_set: TestSet = "cb513",
        train_on: TrainingSet = "train",
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
        if states not in (3, 8):
            raise ConfigError(f"{states} states", where="data.states", mend="give 3 or 8")
        if test_set not in get_args(TestSet):
            raise ConfigError(
                f"no test set {test_set!r}",
                where="data.test_set",
                mend=f"give one of {', '.join(get_args(TestSet))}",
            )
        if train_on == "flip" and states == 8:
            raise ConfigError(
                "FLIP's chains have three states",
                where="data.train_on",
                mend="set data.states to 3, or train on train or valid",
            )
        note = f" (trained on {train_on})" if train_on != "train" else ""
        self.benchmark = f"tape/ss{states}{note}"
        self.tested = test_set
        self._alphabet: Alphabet = SS3 if states == 3 else SS8
        self.output_names = self._alphabet.classes
        self._states = states
        self._test_set: TestSet = test_set
        self._train_on: TrainingSet = train_on

    def evaluation_options(self) -> dict[str, str]:
        return {"test_set": self._test_set}

    def locate(self) -> None:
        self._sets()

    def read_rows(self) -> dict[Split, list[Row]]:
        paths = self._sets()
        validation = self._read(paths["validation"], "valid")
        test = self._read(paths[self._test_set], self._test_set)
        if self._train_on == "valid":
            train, validation = with_validation(validation)
        elif self._train_on == "flip":
            away = {row.group for row in [*validation, *test, *self.other_test_rows()]}
            train = [row for row in self._read(paths["train"], "flip") if row.group not in away]
        else:
            train = self._read(paths["train"], "train")
        return {"train": train, "validation": validation, "test": test}

    def other_test_rows(self) -> list[Row]:
        rows: list[Row] = []
        for name in get_args(TestSet):
            found = self._found([name])
            if name != self._test_set and found is not None:
                rows += self._read(found[name], name)
        return rows

    def _folder(self) -> Path:
        return find_folder(self._root, "tape", holding=f"{_TASK}*")

    def _sets(self) -> dict[str, Path]:
        """Files of every set; what is trained on is the same whatever is tested."""
        folder = self._folder()
        trained = ["train", "validation"] if self._train_on == "train" else ["validation"]
        found: dict[str, Path] = {}
        for keys in (trained, [self._test_set]):
            files = self._found(keys)
            if files is None:
                missing = next((key for key in keys if self._found([key]) is None), keys[0])
                expected = folder / _TASK / f"{_TASK}_{_NAMES[missing][0]}.lmdb"
                raise missing_set(expected, folder=folder, task=_TASK, root=self._root)
            found |= files
        return found | ({"train": self._flip_file(folder)} if self._train_on == "flip" else {})

    def _found(self, keys: Sequence[str]) -> dict[str, Path] | None:
        """Files of sets, if all are there; CSV has three states only."""
        wanted = {key: _NAMES[key] for key in keys}
        return find_sets(self._folder(), _TASK, wanted, csv=self._states == 3)

    def _flip_file(self, folder: Path) -> Path:
        path = folder / _FLIP_FILE
        if not path.is_file():
            raise DataError(
                f"no file {path}",
                where="data.root",
                mend="copy it there from splits/secondary_structure/splits.zip of "
                "github.com/J-SNACKKB/FLIP",
            )
        return path

    def _read(self, path: Path, name: str) -> list[Row]:
        if path.suffix == ".zip":
            records = read_flip(path)
        else:
            beside = "ss3" if self._states == 8 else None
            records = read_tape_residues(path, field=f"ss{self._states}", beside=beside)
        rows: list[Row] = []
        differing = compared = 0
        for record in records:
            labels = self._alphabet.labels(record)
            if record.beside is not None:
                three = SS3.labels(replace(record, labels=record.beside))
                known = ~np.isnan(labels) & ~np.isnan(three)
                compared += int(known.sum())
                differing += int((_OF_EIGHT[labels[known].astype(int)] != three[known]).sum())
            rows.append(residue_row(record, labels, name=name))
        if not rows:
            raise DataError("no row", where=str(path), mend="fetch the file anew")
        if differing:
            logger.warning(
                "%s: ss3 of %d of %d residues is not the one that ss8 belongs to: is ss8 numbered "
                "as G H I B E S T C?",
                path,
                differing,
                compared,
            )
        return rows
