from __future__ import annotations

from pathlib import Path

import pytest

from biote.datamodules.folds import ValidationFold, fold_splits
from biote.datamodules.rows import Row, Split
from biote.errors import ConfigError, DataError
from biote.molecules import Molecule
from biote.splits import load_folds


def rows(*, copies: int = 3, groups: int = 20) -> list[Row]:
    """Rows of which so many share a group."""
    return [
        Row(
            id=f"r{i}",
            parts=(("MKV", Molecule.PROTEIN),),
            target=(float(i),),
            group=f"g{i // copies}",
        )
        for i in range(copies * groups)
    ]


def split(
    path: Path,
    data: list[Row],
    *,
    fold: int = 0,
    folds: int = 5,
    fold_seed: int = 0,
    validation: ValidationFold = "next",
    benchmark: str = "b",
    rule: str = "r",
) -> dict[Split, list[Row]]:
    return fold_splits(
        data,
        benchmark=benchmark,
        rule=rule,
        fold=fold,
        folds=folds,
        fold_seed=fold_seed,
        validation=validation,
        path=path / "folds.parquet",
    )


def names(found: list[Row]) -> set[str]:
    return {row.id for row in found}


def test_test_folds_are_a_partition_and_no_group_is_divided(tmp_path: Path) -> None:
    # REFERENCE 6, 1 and 2.
    tested: list[str] = []
    for fold in range(5):
        splits = split(tmp_path, rows(), fold=fold)
        parts = [splits["train"], splits["validation"], splits["test"]]
        assert sum(map(len, parts)) == 60
        groups = [{row.group for row in part} for part in parts]
        assert not groups[0] & groups[1] | groups[0] & groups[2] | groups[1] & groups[2]
        assert all(groups)
        tested += [row.id for row in splits["test"]]
    assert sorted(tested) == sorted(row.id for row in rows())


def test_validation_is_the_next_fold_or_none(tmp_path: Path) -> None:
    for fold in range(5):
        after = split(tmp_path, rows(), fold=(fold + 1) % 5)
        splits = split(tmp_path, rows(), fold=fold)
        assert names(splits["validation"]) == names(after["test"])
        without = split(tmp_path, rows(), fold=fold, validation="none")
        assert without["validation"] == []
        assert names(without["train"]) == names(splits["train"]) | names(splits["validation"])


def test_the_file_is_written_once_and_read_ever_after(tmp_path: Path) -> None:
    # REFERENCE 6, 1: folds that are dealt anew each time are no partition.
    first = split(tmp_path, rows())
    path = tmp_path / "folds.parquet"
    content, written = path.read_bytes(), path.stat().st_mtime_ns
    assert split(tmp_path, rows()[::-1])["test"] != first["test"]  # the order of the rows given
    assert names(split(tmp_path, rows()[::-1])["test"]) == names(first["test"])
    assert (path.read_bytes(), path.stat().st_mtime_ns) == (content, written)
    # What the file says counts, not what would be dealt now.
    assert names(first["test"]) == {r for r, f in load_folds(path).fold_of.items() if f == 0}


def test_changed_data_are_refused(tmp_path: Path) -> None:
    split(tmp_path, rows())
    path = tmp_path / "folds.parquet"
    content = path.read_bytes()
    fewer = rows()[:-1]
    regrouped = [*rows()[:-1], Row(id="r59", parts=rows()[0].parts, target=(59.0,), group="g0")]
    for data, message in ((fewer, "made for data fingerprint"), (regrouped, "groups are not")):
        with pytest.raises(DataError, match=message):
            split(tmp_path, data)
    with pytest.raises(DataError, match="made for benchmark b, not c"):
        split(tmp_path, rows(), benchmark="c")
    with pytest.raises(DataError, match="made for rule r, not s"):
        split(tmp_path, rows(), rule="s")
    assert path.read_bytes() == content


def test_other_folds_than_the_file_holds_are_refused(tmp_path: Path) -> None:
    split(tmp_path, rows())
    with pytest.raises(ConfigError, match=r"data\.fold_file: .*5 folds of seed 0, not 4 of seed 0"):
        split(tmp_path, rows(), folds=4)
    with pytest.raises(ConfigError, match="not 5 of seed 1"):
        split(tmp_path, rows(), fold_seed=1)


@pytest.mark.parametrize("fold", [-1, 5])
def test_a_fold_that_is_not_there_is_refused(tmp_path: Path, fold: int) -> None:
    with pytest.raises(ConfigError, match=rf"data\.fold: fold {fold} of 5; give 0 to 4"):
        split(tmp_path, rows(), fold=fold)
    assert not (tmp_path / "folds.parquet").exists()
