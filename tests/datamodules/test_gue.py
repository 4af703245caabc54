from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from biote.datamodules.gue import GUE_CLASSES, GueDataModule
from biote.errors import ConfigError, DataError

TASK = "prom/prom_core_tata"
FILES = {
    "train": ["ACGTACGT,0", "TTTTACGA,1", "TTTTACGA,0", "GGGGCCCC,1", "AAAAAAAA,0"],
    "dev": ["CCCCCCCC,0", "GGGGCCCC,1"],
    "test": ["AAAAAAAA,1", "CCCCCCCC,0", "TGTGTGTG,1"],
}


def write(folder: Path, task: str = TASK, **files: list[str]) -> Path:
    where = folder / "gue" / "GUE" / task
    where.mkdir(parents=True)
    for name, lines in (FILES | files).items():
        (where / f"{name}.csv").write_text("\n".join(["sequence,label", *lines]) + "\n")
    return folder


def data(root: Path, task: str = TASK, **options: Any) -> GueDataModule:
    return GueDataModule(root, "character", task=task, batch_size=2, context=32, **options)


def test_there_are_28_tasks() -> None:
    assert len(GUE_CLASSES) == 28
    assert Counter(GUE_CLASSES.values()) == {2: 26, 3: 1, 9: 1}


@pytest.mark.parametrize("below", ["", "gue", "gue/GUE"])
def test_rows_are_those_of_the_files_from_any_parent_folder(tmp_path: Path, below: str) -> None:
    module = data(write(tmp_path) / below)
    row = module.rows("test")[2]
    assert (row.parts[0][0], row.parts[0][1].value, row.target) == ("TGTGTGTG", "DNA", (1,))
    assert row.id == "test:4"
    assert [len(module.rows(split)) for split in ("train", "validation", "test")] == [5, 2, 3]
    assert module.n_outputs == 2


def test_the_published_split_is_kept_and_its_leaks_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "biote")
    data(write(tmp_path)).rows("train")
    for line in (
        "1 train rows repeat a sequence of the same split",
        "1 train sequences have more than one label",
        "1 validation rows have a sequence that is also in train",
        "1 test rows have a sequence that is also in validation",
        "1 test rows have a sequence that is also in train",
    ):
        assert line in caplog.text


def test_leaks_are_dropped_from_the_side_that_is_trained_on(tmp_path: Path) -> None:
    kept, clean = data(write(tmp_path)), data(tmp_path, drop_leaks=True)
    assert [row.id for row in clean.rows("train")] == ["train:2", "train:3", "train:4"]
    assert [row.id for row in clean.rows("validation")] == ["dev:3"]
    assert clean.rows("test") == kept.rows("test")
    assert clean.split_fingerprint != kept.split_fingerprint


def test_a_training_set_that_is_all_tested_on_is_refused(tmp_path: Path) -> None:
    root = write(tmp_path, train=FILES["test"])
    with pytest.raises(ConfigError, match="every training sequence"):
        data(root, drop_leaks=True).rows("train")


def test_missing_data_name_the_command_and_the_place(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gue/GUE/tf/0/train.csv.*biote download gue --output"):
        data(tmp_path, "tf/0").rows("train")


def test_an_unknown_task_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean prom/prom_core_tata"):
        data(Path(), "prom_core_tata")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("ACGT,2", r"train.csv:3: label '2' is no class; .*0 to 1"),
        ("ACGT,1.0", r"train.csv:3: label '1.0'"),
        ("ACGT,", r"train.csv:3: label ''"),
        ("AC-GT,1", r"train.csv:3: gap '-' at position 3"),
        (",1", r"train.csv:3: no sequence"),
        ("ACGT,1,2", r"train.csv:3: 3 fields"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        data(write(tmp_path, train=["ACGT,1", line])).rows("train")


def test_a_wrong_column_is_named(tmp_path: Path) -> None:
    path = write(tmp_path) / "gue" / "GUE" / TASK / "dev.csv"
    path.write_text("seq,label\nACGT,1\n")
    with pytest.raises(DataError, match=r"dev.csv:1: no column 'sequence' among seq, label"):
        data(tmp_path).rows("train")


def test_training_on_dev_is_another_benchmark(tmp_path: Path) -> None:
    root = write(tmp_path, dev=[f"{'ACGT' * (i + 1)},{i % 2}" for i in range(6)] * 3)
    (root / "gue" / "GUE" / TASK / "train.csv").unlink()
    with pytest.raises(DataError, match=r"train\.csv"):
        data(root).rows("train")
    module = data(root, train_on="dev")
    assert module.benchmark == f"gue/{TASK} (trained on dev)"
    train, validation = ({row.group for row in module.rows(s)} for s in ("train", "validation"))
    assert not train & validation
    assert len(module.rows("train")) + len(module.rows("validation")) == 18
    assert len(module.rows("test")) == 3


def test_real_counts(real_data: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "biote")
    module = GueDataModule(real_data, "character", task=TASK, batch_size=32)
    assert [len(module.rows(s)) for s in ("train", "validation", "test")] == [4904, 613, 613]
    assert "57 train rows repeat" in caplog.text
    assert "16 test rows have a sequence that is also in train" in caplog.text
    splice = GueDataModule(
        real_data, "character", task="splice/reconstructed", batch_size=32, train_on="dev"
    )
    train, validation = len(splice.rows("train")), len(splice.rows("validation"))
    assert train + validation == 4562
    assert 0.07 < validation / 4562 < 0.13
    assert {row.target for row in splice.rows("test")} == {(0,), (1,), (2,)}
