from __future__ import annotations

from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from biote.errors import DataError
from biote.splits import (
    FoldAssignment,
    assign_folds,
    load_folds,
    sequence_digest,
    validation_threshold,
)


def assignment(
    groups: list[str],
    folds: list[int],
    n: int = 2,
    *,
    clusters: list[str] | None = None,
    proteins: list[str] | None = None,
    rule: str = "protein",
    threshold: float | None = None,
) -> FoldAssignment:
    return FoldAssignment(
        benchmark="b",
        rule=rule,
        threshold=threshold,
        seed=0,
        folds=n,
        data_fingerprint="d",
        row_ids=tuple(str(i) for i in range(len(groups))),
        groups=tuple(groups),
        clusters=tuple(clusters or groups),
        proteins=tuple(proteins or [None] * len(groups)),
        assignment=tuple(folds),
    )


@given(
    groups=st.lists(st.integers(0, 12).map(str), min_size=30, max_size=200),
    folds=st.integers(2, 5),
    seed=st.integers(0, 3),
)
def test_folds_are_a_partition_of_whole_groups(groups: list[str], folds: int, seed: int) -> None:
    # REFERENCE 6, 1: every row is in exactly one fold, and asking again gives the same folds.
    if len(set(groups)) < folds:
        return
    first = assign_folds(groups, folds, seed=seed)
    assert first == assign_folds(groups, folds, seed=seed)
    assert set(first) == set(range(folds))
    fold_of: dict[str, set[int]] = {}
    for group, fold in zip(groups, first, strict=True):
        fold_of.setdefault(group, set()).add(fold)
    assert all(len(there) == 1 for there in fold_of.values())


def test_folds_are_balanced_by_rows() -> None:
    groups = [f"g{i}" for i in range(100) for _ in range(1 + i % 7)]
    folds = assign_folds(groups, 10, seed=0)
    sizes = [folds.count(fold) for fold in range(10)]
    assert max(sizes) - min(sizes) <= 7


def test_too_few_groups_are_refused() -> None:
    with pytest.raises(DataError, match="2 groups cannot make 3 folds"):
        assign_folds(["a", "b", "b"], 3, seed=0)


def test_seed_changes_the_folds() -> None:
    groups = [f"g{i}" for i in range(50)]
    assert assign_folds(groups, 5, seed=0) != assign_folds(groups, 5, seed=1)


def test_a_group_in_two_folds_is_refused() -> None:
    # REFERENCE 6, 2 (exact copies): the same protein must not stand on both sides.
    with pytest.raises(DataError, match="group a of row 2 stands in fold 0 and fold 1"):
        assignment(["a", "b", "a"], [0, 1, 1])


def test_a_cluster_or_a_protein_in_two_folds_is_refused() -> None:
    # REFERENCE 6, 2 (near copies).
    with pytest.raises(DataError, match="cluster a of row 2 stands in fold 0 and fold 1"):
        assignment(["a", "b", "c"], [0, 1, 1], clusters=["a", "b", "a"], rule="cluster")
    with pytest.raises(DataError, match="cluster a of row 2 stands in training for good and fo"):
        assignment(["a", "b", "c"], [-1, 1, 0], clusters=["a", "b", "a"], rule="paper")
    with pytest.raises(DataError, match=r"protein MKVMKVMKVMKVMKVMKVMK\.\.\. of row 1 stands"):
        assignment(["a", "b"], [0, 1], proteins=["MKV" * 9] * 2)
    # A table may be grouped by its nucleic acids: then a protein may stand on both sides.
    assignment(["a", "b"], [0, 1], proteins=["MKV" * 9] * 2, rule="column dna")


def test_folds_that_are_not_there_or_empty_are_refused() -> None:
    for fold in (-2, 2):
        with pytest.raises(DataError, match=f"fold {fold} of row 1 is not one of 2"):
            assignment(["a", "b"], [0, fold])
    with pytest.raises(DataError, match="fold 1 has no row"):
        assignment(["a", "b"], [0, -1])


def test_the_hash_covers_every_column_and_setting() -> None:
    plain = assignment(["a", "b", "c"], [0, 1, 0])
    others = [
        assignment(["a", "b", "d"], [0, 1, 0], clusters=["a", "b", "c"]),
        assignment(["a", "b", "c"], [0, 1, 0], clusters=["a", "b", "a"]),
        assignment(["a", "b", "c"], [0, 1, 0], proteins=["M", "K", "V"]),
        assignment(["a", "b", "c"], [0, 1, -1]),
        assignment(["a", "b", "c"], [0, 1, 0], threshold=1.5),
        assignment(["a", "b", "c"], [0, 1, 0], rule="paper"),
    ]
    assert len({folds.hash for folds in (plain, *others)}) == 1 + len(others)


def test_saved_folds_are_loaded_unchanged(tmp_path: Path) -> None:
    folds = assignment(
        ["a", "b", "c", "a"],
        [0, 1, -1, 0],
        clusters=["a", "b", "x", "a"],
        proteins=["MK", "MV", "MA", "MK"],
        rule="paper",
        threshold=0.1 + 0.2,
    )
    folds.save(tmp_path / "f.parquet")
    assert load_folds(tmp_path / "f.parquet") == folds
    folds = assignment(["a", "b", "a"], [0, 1, 0])
    folds.save(tmp_path / "f.parquet")
    assert load_folds(tmp_path / "f.parquet") == folds


def test_an_edited_fold_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "f.parquet"
    assignment(["a", "b", "c"], [0, 1, 0]).save(path)
    table = pq.read_table(path)
    edited = pl.from_arrow(table)
    assert isinstance(edited, pl.DataFrame)
    arrow = edited.with_columns(fold=pl.Series([1, 1, 0], dtype=pl.Int32)).to_arrow()
    pq.write_table(
        arrow.cast(table.schema.remove_metadata()).replace_schema_metadata(table.schema.metadata),
        path,
    )
    with pytest.raises(DataError, match="changed after it was written"):
        load_folds(path)
    older = {**table.schema.metadata, b"format_version": b"1"}
    pq.write_table(table.replace_schema_metadata(older), path)
    with pytest.raises(DataError, match="fold file of format 1, not 2"):
        load_folds(path)
    path.write_bytes(b"nonsense")
    with pytest.raises(DataError, match="not a fold file"):
        load_folds(path)


def test_folds_of_other_data_are_refused() -> None:
    folds = assignment(["a", "b", "a"], [0, 1, 0], proteins=["MK", "MV", "MK"])
    same = {"0": "a", "1": "b", "2": "a"}
    proteins: dict[str, str | None] = {"0": "MK", "1": "MV", "2": "MK"}

    def check(
        *,
        data: str = "d",
        rule: str = "protein",
        threshold: float | None = None,
        groups: dict[str, str] = same,
        of: dict[str, str | None] = proteins,
    ) -> None:
        folds.check(
            benchmark="b",
            rule=rule,
            threshold=threshold,
            data_fingerprint=data,
            group_of=groups,
            protein_of=of,
        )

    check()
    with pytest.raises(DataError, match="made for data fingerprint d, not e"):
        check(data="e")
    with pytest.raises(DataError, match="made for rule protein, not cluster"):
        check(rule="cluster", threshold=1.5)
    with pytest.raises(DataError, match=r"made for threshold None, not 2\.0"):
        check(threshold=2.0)
    with pytest.raises(DataError, match="its groups are not those of the data"):
        check(groups=same | {"2": "b"})
    with pytest.raises(DataError, match="its proteins are not those of the data"):
        check(of=proteins | {"2": "MKV"})


def test_equal_sequences_have_equal_digests() -> None:
    assert sequence_digest(b"ACGT") == sequence_digest(b"ACGT")
    assert sequence_digest(b"ACGT") != sequence_digest(b"ACGA")
    digests = [sequence_digest(str(i).encode()) for i in range(20_000)]
    share = sum(digest < validation_threshold(0.1) for digest in digests) / len(digests)
    assert share == pytest.approx(0.1, abs=0.01)


@pytest.mark.parametrize("fraction", [-0.1, 1.0, 2.0])
def test_an_impossible_validation_share_is_refused(fraction: float) -> None:
    with pytest.raises(DataError, match="no share of the sequences"):
        validation_threshold(fraction)
