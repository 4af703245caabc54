"""TAPE's secondary structure: the state of every residue, of three or of eight.

Files, in the folder ``tape``: TAPE's own ``secondary_structure/secondary_structure_<set>.lmdb`` or
``.json`` with the fields ``primary``, ``ss3`` and ``ss8``, or CSV ``secondary_structure.<set>.csv``
with the header ``seq,label`` and one digit a residue (three states). The sets are ``train``,
``valid``, ``cb513``, ``casp12`` and ``ts115``.

States are numbered as in NetSurfP-2.0, whose chains these are: G H I B E S T C, that is helices,
strands, others; three states are helix, strand and other.

Source: Rao et al., TAPE (NeurIPS 2019); paper, Methods (TAPE).
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal, get_args

from biote.datamodules.base import Row, Split
from biote.datamodules.published import find_folder, missing_data
from biote.datamodules.published_residues import PublishedResidueDataModule, with_validation
from biote.datamodules.residue_files import read_tape_residues
from biote.datamodules.residue_labels import Alphabet, letters, residue_row
from biote.datamodules.tape_files import find_sets
from biote.errors import ConfigError, DataError

TestSet = Literal["cb513", "casp12", "ts115"]

SS3: Final = letters("H0", "E1", "C2")
SS8: Final = letters("G0", "H1", "I2", "B3", "E4", "S5", "T6", "C7")

_TASK: Final = "secondary_structure"
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
            there: results then carry another name, because they are no score of TAPE.
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
        train_on: Literal["train", "valid"] = "train",
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
        note = " (trained on valid)" if train_on == "valid" else ""
        self.benchmark = f"tape/ss{states}{note}"
        self.tested = test_set
        self._alphabet: Alphabet = SS3 if states == 3 else SS8
        self.output_names = self._alphabet.classes
        self._states = states
        self._test_set: TestSet = test_set
        self._train_on = train_on

    def evaluation_options(self) -> dict[str, str]:
        return {"test_set": self._test_set}

    def locate(self) -> None:
        self._sets()

    def read_rows(self) -> dict[Split, list[Row]]:
        paths = self._sets()
        validation = self._read(paths["validation"], "valid")
        if self._train_on == "train":
            train = self._read(paths["train"], "train")
        else:
            train, validation = with_validation(validation)
        test = self._read(paths[self._test_set], self._test_set)
        return {"train": train, "validation": validation, "test": test}

    def other_test_rows(self) -> list[Row]:
        rows: list[Row] = []
        for name in get_args(TestSet):
            found = find_sets(self._folder(), _TASK, {name: _NAMES[name]})
            if name != self._test_set and found is not None:
                rows += self._read(found[name], name)
        return rows

    def _folder(self) -> Path:
        return find_folder(self._root, "tape", holding=f"{_TASK}*")

    def _sets(self) -> dict[str, Path]:
        keys = ["validation", self._test_set]
        if self._train_on == "train":
            keys.append("train")
        folder = self._folder()
        found = find_sets(folder, _TASK, {key: _NAMES[key] for key in keys})
        if found is not None:
            return found
        missing = next(
            (key for key in reversed(keys) if find_sets(folder, _TASK, {key: _NAMES[key]}) is None),
            keys[-1],
        )
        expected = folder / _TASK / f"{_TASK}_{_NAMES[missing][0]}.lmdb"
        packed = folder / f"{_TASK}.tar.gz"
        if packed.is_file():
            raise DataError(
                f"no file {expected}",
                where="data.root",
                mend=f"unpack it with: tar -xzf {packed} -C {packed.parent}",
            )
        raise missing_data(expected, root=self._root, dataset="tape-secondary-structure")

    def _read(self, path: Path, name: str) -> list[Row]:
        if path.suffix == ".csv" and self._states == 8:
            raise DataError(
                "the CSV form has three states",
                where=str(path),
                mend="give TAPE's JSON or LMDB files, or set data.states to 3",
            )
        rows: list[Row] = []
        for record in read_tape_residues(path, field=f"ss{self._states}"):
            row = residue_row(record, self._alphabet.labels(record), name=name)
            rows.append(row)
        if not rows:
            raise DataError("no row", where=str(path), mend="fetch the file anew")
        return rows
