from __future__ import annotations

from pathlib import Path

import pytest

from biote.errors import DataError
from biote.splits import ALWAYS_TRAIN, FoldAssignment
from biote.splits.similarity import nearest_training_proteins, refuse_similar

A, NEAR_A = "MKVLAAGWYRNDHHEFC", "MKVLAAGWYRNDHHEFW"
B, C = "GGGPPPSSSTTTQQQ", "WWWWFFFFYYYYCCCC"


def assignment(proteins: list[str | None], folds: list[int]) -> FoldAssignment:
    """Folds that name no cluster, as if somebody had dealt similar proteins by hand."""
    ids = tuple(f"r{i}" for i in range(len(folds)))
    return FoldAssignment(
        benchmark="b",
        rule="column family",
        threshold=None,
        seed=0,
        folds=2,
        data_fingerprint="d",
        row_ids=ids,
        groups=ids,
        clusters=ids,
        proteins=tuple(proteins),
        assignment=tuple(folds),
    )


def test_a_near_copy_outside_the_fold_is_found_and_refused(tmp_path: Path) -> None:
    folds = assignment([A, B, NEAR_A, C], [0, 0, 1, ALWAYS_TRAIN])
    nearest = {pair.protein: pair for pair in nearest_training_proteins(folds, tmp_path)}
    assert set(nearest) == {A, B, NEAR_A}  # C is never tested
    assert nearest[A].training_protein == NEAR_A
    assert (nearest[A].row, nearest[A].training_row, nearest[A].fold) == ("r0", "r2", 0)
    assert nearest[A].identity == 16 / 17
    assert nearest[B].score < 0
    with pytest.raises(
        DataError, match=r"f\.parquet: 2 test proteins score above 1\.5 .* r0 of fold 0 with row r2"
    ):
        refuse_similar(folds, list(nearest.values()), threshold=1.5, where="f.parquet")
    refuse_similar(folds, list(nearest.values()), threshold=5.5, where="f.parquet")


def test_proteins_held_in_training_count_as_outside(tmp_path: Path) -> None:
    folds = assignment([A, B, C, NEAR_A], [0, 0, 1, ALWAYS_TRAIN])
    nearest = nearest_training_proteins(folds, tmp_path)
    with pytest.raises(DataError, match=r"1 test proteins .* r0 of fold 0 with training row r3"):
        refuse_similar(folds, nearest, threshold=1.5, where="f.parquet")


def test_relatives_in_one_fold_are_no_leak(tmp_path: Path) -> None:
    folds = assignment([A, NEAR_A, A, B, C], [0, 0, 0, 1, 1])
    nearest = nearest_training_proteins(folds, tmp_path)
    assert [pair.protein for pair in nearest] == [A, NEAR_A, B, C]
    refuse_similar(folds, nearest, threshold=1.5, where="f.parquet")


def test_an_exact_copy_in_another_fold_scores_as_identical(tmp_path: Path) -> None:
    nearest = nearest_training_proteins(assignment([A, B, A], [0, 0, 1]), tmp_path)
    assert [(pair.identity, pair.training_protein) for pair in nearest if pair.protein == A] == [
        (1.0, A),
        (1.0, A),
    ]


def test_rows_without_proteins_are_left_out(tmp_path: Path) -> None:
    nearest = nearest_training_proteins(assignment([A, None, B], [0, 0, 1]), tmp_path)
    assert [pair.row for pair in nearest] == ["r0", "r2"]
    with pytest.raises(DataError, match="nothing to align"):
        nearest_training_proteins(assignment([None, None], [0, 1]), tmp_path)
