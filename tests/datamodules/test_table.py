from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

from biote.datamodules.rows import SPLITS
from biote.datamodules.table import SequenceColumn, TableDataModule
from biote.errors import ConfigError, DataError
from biote.molecules import Molecule

PROTEIN = SequenceColumn(column="protein", molecule="protein")
DNA = SequenceColumn(column="dna", molecule="DNA")
SECOND = SequenceColumn(column="second", molecule="DNA", optional=True)
PROTEINS = ["MKVA", "MKVC", "MKVD", "MKVE", "MKVF", "MKVG"]


def frame(**columns: list[Any]) -> pl.DataFrame:
    """Six rows; columns may be replaced and added."""
    content: dict[str, Any] = {
        "name": list("abcdef"),
        "protein": PROTEINS,
        "dna": ["ACGT", "ACGA", "ACGC", "ACGG", "ACTT", "ACTA"],
        "label": [0.5, 1.5, 2.5, 3.5, 4.5, 5.5],
        "split": ["train", "train", "train", "validation", "test", "test"],
    }
    return pl.DataFrame(content | columns)


def write(data: pl.DataFrame, folder: Path, ending: str = "csv") -> Path:
    path = folder / f"table.{ending}"
    data.write_csv(path) if ending == "csv" else data.write_parquet(path)
    return path


def table(path: Path, **options: Any) -> TableDataModule:
    arguments: dict[str, Any] = {
        "sequences": [PROTEIN, DNA],
        "labels": ["label"],
        "kind": "regression",
        "batch_size": 4,
        "id_column": "name",
        "split_column": "split",
    }
    return TableDataModule(path, "character", **(arguments | options))


def ids(data: TableDataModule) -> list[list[str]]:
    return [[row.id for row in data.rows(split)] for split in SPLITS]


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_rows_of_a_file_stand_in_the_splits_it_names(tmp_path: Path, ending: str) -> None:
    data = table(write(frame(), tmp_path, ending))
    assert ids(data) == [["a", "b", "c"], ["d"], ["e", "f"]]
    first = data.rows("train")[0]
    assert first.parts == (("MKVA", Molecule.PROTEIN), ("ACGT", Molecule.DNA))
    assert first.target == (0.5,)
    assert data.fold is None
    assert data.n_outputs == 1
    assert data.classes == []


def test_csv_and_parquet_have_the_same_fingerprint(tmp_path: Path) -> None:
    files = [write(frame(), tmp_path, ending) for ending in ("csv", "parquet")]
    assert len({table(file).data_fingerprint for file in files}) == 1


def test_an_optional_sequence_may_be_missing(tmp_path: Path) -> None:
    path = write(frame(second=["acgu", None, None, None, "", None]), tmp_path)
    data = table(path, sequences=[PROTEIN, DNA, SECOND])
    parts = {row.id: row.parts for split in SPLITS for row in data.rows(split)}
    assert parts["a"][1:] == (("ACGT", Molecule.DNA), ("ACGT", Molecule.DNA))
    assert all(len(parts[name]) == 2 for name in "bcdef")


def test_sequences_are_packed_in_the_order_given(tmp_path: Path) -> None:
    data = table(write(frame(), tmp_path), sequences=[DNA, PROTEIN])
    assert data.rows("test")[0].parts == (("ACTT", Molecule.DNA), ("MKVF", Molecule.PROTEIN))


def test_several_labels_are_several_targets(tmp_path: Path) -> None:
    data = table(write(frame(other=[10, 20, 30, 40, 50, 60]), tmp_path), labels=["other", "label"])
    assert data.n_outputs == 2
    (batch,) = list(data.test_dataloader())
    assert batch.targets.tolist() == [[50.0, 4.5], [60.0, 5.5]]
    mean, _ = data.target_statistics
    assert mean.tolist() == [20.0, 1.5]


@pytest.mark.parametrize(
    ("labels", "classes", "tested"),
    [
        (["z", "b", "z", "a", "b", "z"], ["a", "b", "z"], [1, 2]),
        ([10, 9, 10, 9, 9, 100], ["9", "10", "100"], [0, 2]),
        ([True, False, True, False, True, False], ["False", "True"], [1, 0]),
    ],
)
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_classes_are_numbered_in_sorted_order(
    tmp_path: Path, labels: list[Any], classes: list[str], tested: list[int], ending: str
) -> None:
    data = table(write(frame(label=labels), tmp_path, ending), kind="classification")
    assert [name.lower() for name in data.classes] == [name.lower() for name in classes]
    assert data.n_outputs == len(classes)
    (batch,) = list(data.test_dataloader())
    assert batch.targets.dtype == torch.int64
    assert batch.targets.tolist() == tested


def test_a_sequence_that_looks_like_no_value_stays_text(tmp_path: Path) -> None:
    # They are sequences of two and three residues too.
    proteins = ["INF", "NAN", "NA", "MKVE", "MKVF", "MKVG"]
    data = table(write(frame(protein=proteins), tmp_path))
    assert [row.parts[0][0] for row in data.rows("train")] == ["INF", "NAN", "NA"]


def test_rows_without_ids_are_numbered_from_0(tmp_path: Path) -> None:
    assert ids(table(write(frame(), tmp_path), id_column=None)) == [
        ["0", "1", "2"],
        ["3"],
        ["4", "5"],
    ]


def folded(path: Path, **options: Any) -> TableDataModule:
    folds = path.parent / "folds.parquet"
    return table(path, **({"split_column": None, "fold_file": folds, "folds": 3} | options))


def test_folds_are_a_partition_of_whole_groups(tmp_path: Path) -> None:
    # REFERENCE 6, 1 and 2: by the first sequence, or by a column.
    path = write(frame(protein=["MKV", "MKV", *PROTEINS[2:]], family=list("xyxyzz")), tmp_path)
    for group_column, divided in ((None, "protein"), ("family", "family")):
        of = dict(zip("abcdef", pl.read_csv(path)[divided].to_list(), strict=True))
        tested: list[str] = []
        for fold in range(3):
            data = folded(
                path,
                fold=fold,
                group_column=group_column,
                fold_file=tmp_path / f"by_{divided}.parquet",
            )
            groups = [{of[name] for name in names} for names in ids(data)]
            assert len(set.union(*groups)) == sum(map(len, groups))
            assert data.fold == fold
            tested += ids(data)[2]
        assert sorted(tested) == list("abcdef")


def test_a_fold_file_of_another_table_is_refused(tmp_path: Path) -> None:
    folded(write(frame(), tmp_path)).setup("fit")
    other = write(frame(label=[0.5, 1.5, 2.5, 3.5, 4.5, 6.5]), tmp_path)
    with pytest.raises(DataError, match="fold file: made for data fingerprint"):
        folded(other).setup("fit")
    with pytest.raises(DataError, match=r"fold file: made for rule exact protein, not column dna"):
        folded(write(frame(), tmp_path), group_column="dna").setup("fit")


def test_a_sequence_on_two_sides_of_the_split_is_refused(tmp_path: Path) -> None:
    # REFERENCE 6, 2 (exact copies); lower case is the same sequence.
    path = write(frame(protein=["MKVA", *PROTEINS[1:4], "mkva", "MKVG"]), tmp_path)
    with pytest.raises(DataError, match=r"of row e stands in train and in test; give every row"):
        table(path).setup("fit")
    apart = write(frame(protein=["MKVA"] * 6, family=list("xyzuvw")), tmp_path)
    table(apart, group_column="family").setup("fit")


NO_CSV: Callable[[Path], Path] = lambda folder: folder / "none.csv"  # noqa: E731


def text(content: bytes, ending: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = folder / f"table.{ending}"
        path.write_bytes(content)
        return path

    return make


def cells(ending: str = "csv", **columns: list[Any]) -> Callable[[Path], Path]:
    return lambda folder: write(frame(**columns), folder, ending)


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (NO_CSV, {}, r"^data\.root: no file .*none\.csv; give a CSV or Parquet file$"),
        (text(b"x", "tsv"), {}, r"table\.tsv: ending '\.tsv'; give \.csv or \.parquet$"),
        (text(b"nonsense", "parquet"), {}, r"table\.parquet: cannot be read \("),
        (text(b"", "csv"), {}, r"table\.csv: cannot be read \("),
        (text(b"protein,dna\nM,A\nM,A,C,D\n", "csv"), {}, r"table\.csv: cannot be read \("),
        (
            cells(),
            {"sequences": [SequenceColumn(column="peptide", molecule="protein")]},
            r"table\.csv: no column 'peptide'; its columns are name, protein, dna, label, split$",
        ),
        (cells(), {"labels": ["y"]}, r"no column 'y'; its columns are"),
        (cells(), {"id_column": "id"}, r"no column 'id'; its columns are"),
        (cells(), {"group_column": "g"}, r"no column 'g'; its columns are"),
        (cells(), {"split_column": "s"}, r"no column 's'; its columns are"),
        (
            cells(dna=["ACGT", None, "A", "A", "A", "A"]),
            {},
            r"table\.csv, row b: no sequence in column 'dna'; fill it in, drop the row, or set",
        ),
        (
            cells(dna=["ACGT", "AC-T", "A", "A", "A", "A"]),
            {},
            r"table\.csv, row b: gap '-' at position 3 is not in the nucleic alphabet; remove",
        ),
        (
            cells(label=[0.5, None, 2.5, 3.5, 4.5, 5.5]),
            {},
            r"table\.csv, row 1: no value in column 'label'; fill it in or drop the row$",
        ),
        (
            cells(label=["0.5", "high", "2.5", "3.5", "4.5", "5.5"]),
            {},
            r"table\.csv, row b: label 'high' in column 'label' is no finite number; correct it or",
        ),
        (
            cells(label=["0.5", "inf", "2.5", "3.5", "4.5", "5.5"]),
            {},
            r"row b: label inf in column 'label' is no finite number",
        ),
        (
            cells("parquet", label=[0.5, float("nan"), 2.5, 3.5, 4.5, 5.5]),
            {},
            r"row b: label nan in column 'label' is no finite number",
        ),
        (
            cells(label=["x", None, "y", "x", "y", "x"]),
            {"kind": "classification"},
            r"table\.csv, row 1: no value in column 'label'; fill it in",
        ),
        (
            cells(label=["x", "", "y", "x", "y", "x"]),
            {"kind": "classification"},
            r"no value in column 'label'; fill it in",
        ),
        (
            cells(name=["a", "b", "c", "b", "e", "f"]),
            {},
            r"table\.csv: row id 'b' occurs twice",
        ),
        (cells(name=["a", None, "c", "d", "e", "f"]), {}, r"row 1: no value in column 'name'"),
        (
            cells(split=["train", "dev", "train", "test", "test", "test"]),
            {},
            r"table\.csv, row b: split 'dev'; column 'split' may hold train, validation, test$",
        ),
        (
            cells(split=["train", None, "train", "test", "test", "test"]),
            {},
            r"row 1: no value in column 'split'",
        ),
        (
            cells(second=["A", None, None, None, None, None]),
            {"sequences": [SECOND]},
            r"table\.csv, row b: no sequence at all; drop the row$",
        ),
    ],
)
def test_a_mistake_in_the_table_is_one_line_that_names_it(
    tmp_path: Path, make: Callable[[Path], Path], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        table(make(tmp_path), **options).setup("fit")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sequences": []}, "data: no sequence or no label column"),
        ({"labels": []}, "data: no sequence or no label column"),
        (
            {"labels": ["label", "name"], "kind": "classification"},
            r"data\.labels: 2 label columns; classes need exactly one",
        ),
        ({"split_column": None}, "data: neither a split column nor a fold file; set data.split"),
        ({"batch_size": 0}, r"data\.batch_size: 0 rows"),
    ],
)
def test_settings_that_cannot_work_are_refused(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        table(tmp_path / "table.csv", **options)


def test_an_unknown_molecule_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="unknown molecule type 'peptide'; known types: DNA"):
        table(tmp_path / "table.csv", sequences=[SequenceColumn(column="a", molecule="peptide")])
