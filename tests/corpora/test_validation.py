from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from biote.corpora.manifest import ValidationRule
from biote.corpora.shards import ShardColumns
from biote.corpora.units import Unit
from biote.corpora.validation import HeldOut, hold_out
from biote.corpora.writer import ShardWriter
from biote.molecules import MOLECULES, Molecule
from biote.tokenization import CharacterTokenizer

TOP = 2**64


def split(folder: Path, digests: dict[Molecule, list[int]], fraction: float) -> HeldOut:
    writer = ShardWriter(folder, CharacterTokenizer(), source=0, shard_bytes=200)
    for molecule, values in digests.items():
        for value in values:
            writer.add(Unit("r", molecule, b"AAA", 0, True, value))
    infos = writer.close()
    dtype = np.dtype(np.uint16)
    return hold_out(lambda: (ShardColumns(folder / i.file, i, dtype) for i in infos), fraction)


def test_below_the_threshold_is_validation(tmp_path: Path) -> None:
    held = split(tmp_path, {Molecule.DNA: [0, TOP // 4 - 1, TOP // 4, TOP - 1]}, 0.25)
    assert held.rule == ValidationRule(fraction=0.25, threshold=TOP // 4)
    assert held.units == {Molecule.DNA: 2}
    assert held.tokens == {Molecule.DNA: 6}
    assert held.notes == ()


def test_a_type_without_validation_holds_out_its_smallest_digest(tmp_path: Path) -> None:
    many, few = [5, 6, TOP // 2, TOP - 1], [TOP // 2 + 1, TOP // 2, TOP // 2, TOP - 2]
    held = split(tmp_path, {Molecule.DNA: many, Molecule.MRNA: few}, 0.25)
    assert held.rule.extra_digests == {TOP // 2}
    # The same sequence is held out as DNA, too.
    assert held.units == {Molecule.DNA: 3, Molecule.MRNA: 2}


def test_one_distinct_sequence_stays_in_training_with_a_note(tmp_path: Path) -> None:
    held = split(tmp_path, {Molecule.DNA: [5, TOP - 1], Molecule.TRNA: [TOP // 2] * 3}, 0.25)
    assert held.units == {Molecule.DNA: 1, Molecule.TRNA: 0}
    assert held.notes == ("tRNA: no validation unit, because its 3 units are needed for training",)


def test_a_type_wholly_below_the_threshold_keeps_a_training_unit(tmp_path: Path) -> None:
    held = split(tmp_path, {Molecule.DNA: [5, 9, TOP - 1], Molecule.TRNA: [7, 8]}, 0.25)
    assert held.rule.threshold == 8
    assert held.units == {Molecule.DNA: 1, Molecule.TRNA: 1}
    assert "smaller than the 0.25 asked for" in held.notes[0]


def test_no_validation_where_none_is_asked_for(tmp_path: Path) -> None:
    held = split(tmp_path, {Molecule.DNA: [0, 5, TOP - 1]}, 0.0)
    assert held.units == {Molecule.DNA: 0}
    assert held.notes == ("validation fraction is 0: no unit is held out",)


@given(
    digests=st.dictionaries(
        st.sampled_from(MOLECULES[:4]),
        st.lists(st.integers(0, 12), min_size=1, max_size=6),
        min_size=1,
    ),
    fraction=st.sampled_from([0.0, 0.1, 0.5]),
)
def test_every_type_keeps_training_and_has_validation_or_a_note(
    tmp_path_factory: pytest.TempPathFactory, digests: dict[Molecule, list[int]], fraction: float
) -> None:
    spread = {m: [min(d * (TOP // 12), TOP - 1) for d in v] for m, v in digests.items()}
    held = split(tmp_path_factory.mktemp("corpus"), spread, fraction)
    for molecule, values in spread.items():
        flags = held.rule.is_validation(np.array(values, np.uint64))
        assert flags.sum() == held.units[molecule] < len(values)
        if not held.units[molecule]:
            assert any(
                note.startswith((f"{molecule.value}:", "validation fraction is 0"))
                for note in held.notes
            )


def test_union_of_rules_holds_out_what_either_does() -> None:
    one = ValidationRule(fraction=0.1, threshold=10, extra_digests=frozenset({50}))
    two = ValidationRule(fraction=0.2, threshold=20, extra_digests=frozenset({60}))
    digests = np.array([5, 15, 25, 50, 60], np.uint64)
    union = one.union([two])
    assert union.is_validation(digests).tolist() == [True, True, False, True, True]
    assert (one.is_validation(digests) | two.is_validation(digests)).tolist() == (
        union.is_validation(digests).tolist()
    )
