from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from biote.datamodules.ablation import ABLATIONS, AblationSettings, ablated
from biote.datamodules.facts import input_key, protein_key
from biote.datamodules.rows import Row
from biote.errors import ConfigError, DataError
from biote.molecules import Molecule


def rows(n: int) -> list[Row]:
    return [
        Row(
            id=f"r{i}",
            parts=(
                ("MKV" + "A" * i, Molecule.PROTEIN),
                ("ACGT" * (i + 1), Molecule.RNA if i % 3 else Molecule.DNA),
            ),
            target=(float(i),),
            group=f"g{i}",
        )
        for i in range(n)
    ]


@given(st.integers(2, 40), st.integers(0, 1000))
def test_strands_go_to_other_rows_and_none_is_lost(n: int, seed: int) -> None:
    before, after = rows(n), ablated(rows(n), "shuffle-strands", seed=seed)
    assert Counter(row.parts[1] for row in after) == Counter(row.parts[1] for row in before)
    for old, new in zip(before, after, strict=True):
        assert (new.id, new.target, new.group, new.parts[0]) == (
            old.id, old.target, old.group, old.parts[0],
        )  # fmt: skip
        assert new.parts[1] != old.parts[1]
    assert after == ablated(rows(n), "shuffle-strands", seed=seed)


def test_protein_only_leaves_nothing_of_the_strands() -> None:
    for row in ablated(rows(4), "protein-only", seed=0):
        assert [molecule for _, molecule in row.parts] == [Molecule.PROTEIN]
    assert ablated(rows(4), "none", seed=0) == rows(4)


@given(st.integers(2, 40), st.integers(0, 1000))
def test_targets_go_to_other_rows_and_none_is_lost(n: int, seed: int) -> None:
    before, after = rows(n), ablated(rows(n), "shuffle-targets", seed=seed)
    assert Counter(row.target for row in after) == Counter(row.target for row in before)
    for old, new in zip(before, after, strict=True):
        assert (new.id, new.parts, new.group) == (old.id, old.parts, old.group)
        assert new.target != old.target


def test_targets_are_shuffled_in_training_alone() -> None:
    settings = AblationSettings(kind="shuffle-targets", trained=True)
    assert settings.changes(tested=False)
    assert not settings.changes(tested=True)
    assert settings.suffix == ", targets shuffled in training"
    with pytest.raises(ConfigError, match=r"set data.ablation.trained to true"):
        AblationSettings(kind="shuffle-targets")


def test_rows_without_either_are_refused() -> None:
    lone = Row(id="lone", parts=(("MKV", Molecule.PROTEIN),), target=(0.0,), group="g")
    for kind in ABLATIONS:
        with pytest.raises(DataError, match="row lone: an ablation needs a protein and a nucleic"):
            ablated([*rows(2), lone], kind, seed=0)
    with pytest.raises(DataError, match="none to swap strands with"):
        ablated(rows(1), "shuffle-strands", seed=0)


def test_every_ablation_has_a_name_of_its_own_in_results() -> None:
    names = [
        AblationSettings(kind=kind, trained=trained).suffix
        for kind in ABLATIONS
        for trained in (False, True)
    ]
    assert len(set(names)) == 4
    assert AblationSettings().suffix == AblationSettings(trained=True).suffix == ""


def test_inputs_are_the_same_whatever_the_order_of_strands() -> None:
    protein, one, other = ("MKV", Molecule.PROTEIN), ("ACG", Molecule.DNA), ("CGT", Molecule.DNA)
    key = input_key([protein, one, other])
    assert key == input_key([protein, other, one])
    rna = ("ACG", Molecule.RNA)
    for parts in ([protein, one], [protein, rna, other], [("MKA", Molecule.PROTEIN), one, other]):
        assert input_key(parts) != key
    assert protein_key([protein, one]) == protein_key([protein, rna])
    assert protein_key([one]) == ""
