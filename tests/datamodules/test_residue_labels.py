"""Labels of residues in the forms that files have them in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from biote.datamodules.published import count_leaks
from biote.datamodules.residue_labels import ResidueRecord, letters, residue_row
from biote.errors import DataError

STATES = letters("H", "E", "C")


@pytest.mark.parametrize(
    "written",
    ["HHE?C", [0, 0, 1, -1, 2], "[0, 0, 1, -1, 2]", "0 0 1 -1 2", "['H', 'H', 'E', '?', 'C']",
     "H H E ? C", "0.0,0.0,1.0,-1.0,2.0"],
)  # fmt: skip
def test_classes_are_read_however_they_are_written(written: Any) -> None:
    labels = STATES.labels(ResidueRecord("file, row 0", "0", "MKVLA", written))
    np.testing.assert_array_equal(labels[:, 0], np.array([0, 0, 1, np.nan, 2], np.float32))


def test_a_blank_can_be_a_letter() -> None:
    blank = letters("H", " ")
    labels = blank.labels(ResidueRecord("file, row 0", "0", "MKVLA", "HH  H"))
    assert labels[:, 0].tolist() == [0, 0, 1, 1, 0]


@pytest.mark.parametrize("written", ["0 0 1", "HHEC", "0 0 1 -1 7"])
def test_a_wrong_count_or_class_is_refused(written: str) -> None:
    with pytest.raises(DataError, match=r"^file, row 0: \d labels for 5|is no class"):
        STATES.labels(ResidueRecord("file, row 0", "0", "MKVLA", written))


def test_equal_sequences_with_other_labels_of_residues_contradict() -> None:
    rows = []
    for number, labels in enumerate(("HHECC", "HHECC", "HHEEC")):
        record = ResidueRecord("file", str(number), "MKVLA", labels)
        rows.append(residue_row(record, STATES.labels(record)))
    assert count_leaks({"train": rows[:2], "validation": [], "test": []}).contradicting == 0
    assert count_leaks({"train": rows, "validation": [], "test": []}).contradicting == 1
