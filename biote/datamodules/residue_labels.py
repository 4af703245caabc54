"""Labels of residues as files write them: letters, digits, lists of numbers.

Legend: R residues of a sequence.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from biote.alignment import Labels
from biote.datamodules.published import sequence_group
from biote.datamodules.residues import ResidueRow
from biote.errors import DataError
from biote.molecules import Molecule, canonical_sequence

_SEPARATED: Final = re.compile(r"[\s,;\[\]'\"]+")
_INDEX: Final = re.compile(r"-?\d+(\.0*)?")


@dataclass(frozen=True)
class ResidueRecord:
    """One protein of a file with what stands there for its residues."""

    where: str
    """File and line or entry, for error messages."""

    id: str
    sequence: str
    labels: Any
    """A letter or digit for every residue in one text, numbers in one text, or a list."""

    beside: Any = None
    """Other labels of the same residues to check them by."""


@dataclass(frozen=True, kw_only=True)
class Alphabet:
    """How classes are written.

    Args:
        classes: Names of the classes, in the order of their indices.
        letters: Class index of every letter that can stand for a class.
        unlabelled: Letters that stand for no label.
    """

    classes: tuple[str, ...]
    letters: Mapping[str, int]
    unlabelled: str = "?"

    def labels(self, record: ResidueRecord) -> Labels:
        """Class index of every residue, (R, 1), NaN where it is not labelled.

        Args:
            record: Labels as one text of letters, or a list of indices with -1 for no label, which
                may be written as text: ``[0, 2, 1]`` or ``0 2 1``.

        Raises:
            DataError: If their number is not that of the residues, or one is no class.
        """
        written = record.labels
        if isinstance(written, str) and len(written) != len(record.sequence):
            written = _listed(written)
        if isinstance(written, str):
            values = [
                np.nan if letter in self.unlabelled else self.letters.get(letter, -2)
                for letter in written
            ]
            indices = np.array(values, np.float64)
            known = "".join(dict.fromkeys(self.letters))
            shown = [repr(letter) for letter in written]
        else:
            indices = _numbers(written, record)
            indices[indices == -1] = np.nan
            known = f"0 to {len(self.classes) - 1}"
            shown = [f"{value:g}" for value in indices]
        _check_length(indices, record)
        wrong = ~np.isnan(indices) & ~np.isin(indices, range(len(self.classes)))
        if wrong.any():
            at = int(wrong.argmax())
            raise DataError(
                f"label {shown[at]} of residue {at + 1} is no class",
                where=record.where,
                mend=f"classes are {known}: correct it or drop the record",
            )
        return indices.astype(np.float32)[:, None]


def letters(*classes: str, unlabelled: str = "?") -> Alphabet:
    """An alphabet with one text of letters for each class.

    Args:
        classes: Letters of every class; the first is its name.
        unlabelled: Letters that stand for no label.
    """
    of = {letter: index for index, group in enumerate(classes) for letter in group}
    return Alphabet(classes=tuple(group[0] for group in classes), letters=of, unlabelled=unlabelled)


def value_labels(record: ResidueRecord, *, lowest: float | None = None) -> Labels:
    """Number of every residue, (R, 1), NaN where it is not labelled.

    Args:
        record: Labels as a list of numbers, or as one text of numbers with anything between.
        lowest: Below it stand markers for residues without a label; null allows every number.

    Raises:
        DataError: If their number is not that of the residues, or one is no number.
    """
    written = record.labels
    if isinstance(written, str):
        written = [text for text in _SEPARATED.split(written) if text]
    values = _numbers(written, record)
    _check_length(values, record)
    if lowest is not None:
        values[values < lowest] = np.nan
    if np.isinf(values).any():
        raise DataError(
            f"label of residue {int(np.isinf(values).argmax()) + 1} is infinite",
            where=record.where,
            mend="correct it or drop the record",
        )
    return values.astype(np.float32)[:, None]


def _listed(written: str) -> str | list[str]:
    """Labels with something between them, as lists are written: numbers as a list, letters joined.

    A text that is as long as the sequence is one of letters, of which a blank may be one.
    """
    parts = [part for part in _SEPARATED.split(written) if part]
    if len(parts) < 2:
        return written
    return parts if all(_INDEX.fullmatch(part) for part in parts) else "".join(parts)


def _numbers(written: Any, record: ResidueRecord) -> npt.NDArray[np.float64]:
    try:
        return np.array(written, np.float64).reshape(-1)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"labels are no numbers ({error})",
            where=record.where,
            mend="correct them or drop the record",
        ) from error


def _check_length(labels: npt.NDArray[np.float64], record: ResidueRecord) -> None:
    residues = len(record.sequence)
    if len(labels) != residues:
        raise DataError(
            f"{len(labels)} labels for {residues} residues",
            where=record.where,
            mend="give every residue one, or drop the record",
        )


def residue_row(record: ResidueRecord, labels: Labels, *, name: str = "") -> ResidueRow:
    """Make a row of one protein.

    Args:
        record: Where it comes from.
        labels: Labels of its residues, (R, C).
        name: Name of the set of rows, put before the id: ids are unique over all splits.

    Raises:
        DataError: If there is no sequence, or a letter of it is no residue.
    """
    if not record.sequence:
        raise DataError("no sequence", where=record.where, mend="drop the record")
    sequence = canonical_sequence(record.sequence, Molecule.PROTEIN, record=record.where)
    return ResidueRow(
        id=f"{name}:{record.id}" if name else record.id,
        parts=((sequence, Molecule.PROTEIN),),
        target=(),
        group=sequence_group(sequence),
        labels=labels[: len(sequence)],  # a stop, written as *, is no residue
    )


def scaled(rows: Sequence[ResidueRow], *, by: Sequence[ResidueRow]) -> list[ResidueRow]:
    """Scale values so that the least label of some residues is 0 and the greatest 1.

    Args:
        rows: Rows to scale.
        by: Training rows, whose labels decide.

    Raises:
        DataError: If their labels are all the same, or none is known.
    """
    every = np.concatenate([row.labels for row in by])
    every = every[~np.isnan(every)]
    if not len(every) or every.min() == every.max():
        raise DataError(
            "all labels are the same", where="training rows", mend="check the label column"
        )
    low, high = every.min(), every.max()
    return [replace(row, labels=(row.labels - low) / (high - low)) for row in rows]
