"""Whole runs of TAPE and ProteinGLUE on small files in their formats."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from biote.cli import main
from biote.modules.config import EncoderConfig
from biote.modules.encoder import Encoder
from biote.modules.weights import save_encoder
from biote.tokenization import CharacterTokenizer

RESIDUES = list("ARNDCQEGHILKMFPSTWYV")
SHORT = """
trainer:
  max_steps: 4
  val_check_interval: 2
  accelerator: cpu
  enable_model_summary: false
  enable_progress_bar: false
"""
GLUE_FIELDS = {
    "ss3": "ss3", "ss8": "ss8", "buried": "buried", "asa": "solvent_accessibility",
    "ppi": "interface", "epi": "interface", "hpr": "hp_rank",
}  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an encoder, and TAPE and ProteinGLUE in small."""
    folder = tmp_path_factory.mktemp("residue_suites")
    tokenizer = CharacterTokenizer()
    sizes = EncoderConfig(width=16, layers=1, heads=2, context=64)
    save_encoder(
        folder / "encoder",
        encoder=Encoder(sizes, tokenizer.vocab_size, seed=0),
        readout=None,
        tokenizer_fingerprint=tokenizer.fingerprint,
        extra={"trained_tokens": 1_000},
    )
    tokenizer.save(folder / "encoder")
    (folder / "short.yaml").write_text(SHORT)
    rng = np.random.default_rng(0)
    write_glue(folder / "data" / "proteinglue", rng)
    write_tape(folder / "data" / "tape", rng)
    return folder


def protein(rng: np.random.Generator) -> str:
    return "".join(rng.choice(RESIDUES, rng.integers(20, 40)))


def label(name: str, residue: str) -> int:
    """A label that follows from the residue."""
    number = RESIDUES.index(residue)
    return number % {"ss3": 3, "ss8": 8, "hpr": 20}.get(name, 2)


def write_glue(folder: Path, rng: np.random.Generator) -> None:
    folder.mkdir(parents=True)
    for name, field in GLUE_FIELDS.items():
        for split, rows in (("train", 40), ("val", 9), ("test", 11)):
            proteins = [protein(rng) for _ in range(rows)]
            separator = " " if name in ("asa", "hpr") else ""
            lines = [f"{p},{separator.join(str(label(name, r)) for r in p)}" for p in proteins]
            text = "\n".join([f"sequence,{field}", *lines]) + "\n"
            (folder / f"{split}-{name}.csv").write_text(text)


def write_tape(folder: Path, rng: np.random.Generator) -> None:
    for name in ("secondary_structure", "proteinnet", "fluorescence"):
        (folder / name).mkdir(parents=True)
    # CASP12 is not there.
    for split, rows in (("train", 40), ("valid", 9), ("cb513", 11), ("ts115", 5)):
        entries: list[dict[str, Any]] = []
        for _ in range(rows):
            sequence = protein(rng)
            eight = [label("ss8", r) for r in sequence]
            three = [[0, 0, 0, 1, 1, 2, 2, 2][state] for state in eight]
            entries.append({"primary": sequence, "ss3": three, "ss8": eight})
        path = folder / "secondary_structure" / f"secondary_structure_{split}.json"
        path.write_text(json.dumps(entries))
    for split, rows in (("train", 12), ("valid", 5), ("test", 7)):
        numbers = []
        maps = []
        for i in range(rows):
            sequence = protein(rng)
            places = np.cumsum(rng.normal(size=(len(sequence), 3)) * 2.5, axis=0)
            maps.append(
                {"id": f"{split}{i}", "primary": sequence, "tertiary": places.tolist(),
                 "valid_mask": [True] * len(sequence)}
            )  # fmt: skip
            numbers.append({"primary": protein(rng), "log_fluorescence": [float(i)]})
        (folder / "proteinnet" / f"proteinnet_{split}.json").write_text(json.dumps(maps))
        path = folder / "fluorescence" / f"fluorescence_{split}.json"
        path.write_text(json.dumps(numbers))


def suite(place: Path, name: str, *options: str) -> int:
    return main(
        ["suite", name, "--encoder", str(place / "encoder"), "--data", str(place / "data"),
         "--output", str(place / name), "--config", str(place / "short.yaml"), *options]
    )  # fmt: skip


def test_residue_tasks_of_every_kind_end_in_one_table(place: Path) -> None:
    options = ["--tasks", "ss8", "ppi", "patch_rank", "--control", "false", "--quick"]
    assert suite(place, "proteinglue", *options) == 0
    output = place / "proteinglue"
    table = pl.read_csv(output / "suite.csv").filter(model="pre-trained encoder")
    assert table["task"].to_list() == ["ss8", "ppi", "patch_rank"]  # the suite's own order
    assert table["metric"].to_list() == ["accuracy", "auroc", "pcc"]
    assert set(table["published"].fill_null("")) == {""}
    for task, metric, value, n in table.select("task", "metric", "mean", "n").iter_rows():
        run = output / task / "encoder" / "seed0"
        rows = pl.read_parquet(run / "results.parquet").filter(metric=metric)
        assert rows["value"].to_list() == [value]
        written = pl.read_parquet(run / "predictions.parquet").filter(output=0)
        assert len(written) == n
    text = (output / "suite.md").read_text()
    assert "Mean over 3 of 7 categories" in text
    assert json.loads((output / "performance.json").read_text())["quick"] is True
    assert (output / "performance_per_flop.png").is_file()


def test_every_test_set_of_tape_is_a_line_and_those_not_there_say_so(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--tasks", "ss3", "contacts", "stability", "--control", "false", "--quick"]
    assert suite(place, "tape", *options, "--drop-leaks") == 0
    lines = (place / "tape" / "suite.md").read_text().splitlines()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if "|" in line]
    assert [row[0] for row in cells[2:]] == [
        "ss3, cb513", "ss3, casp12", "ss3, ts115", "contacts", "stability",
    ]  # fmt: skip
    published = {row[0]: row[-1] for row in cells}
    assert published["ss3, cb513"].startswith("0.73 (TAPE transformer)")
    assert published["ss3, casp12"] == published["ss3, ts115"] == ""
    assert {row[0]: row[2] for row in cells}["ss3, casp12"] == "absent"
    printed = capsys.readouterr().out
    assert "biote download tape-secondary-structure" in printed
    assert "biote download tape-stability" in printed
    # The first test set alone counts, and what is absent does not.
    table = pl.read_csv(place / "tape" / "suite.csv").filter(model="pre-trained encoder")
    means = dict(table.filter(pl.col("split") != "ts115").select("task", "mean").iter_rows())
    point = json.loads((place / "tape" / "performance.json").read_text())
    assert point["score"] == pytest.approx((means["ss3"] + means["contacts"]) / 2)
    assert (point["categories"], point["of_categories"]) == (2, 5)


def test_runs_on_other_data_are_kept_until_they_may_be_replaced(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = place / "changed"
    options = ["--tasks", "fluorescence", "--control", "false", "--output", str(output), "--quick"]
    assert suite(place, "tape", *options, "--seeds", "0", "1") == 0
    path = place / "data" / "tape" / "fluorescence" / "fluorescence_train.json"
    entries = json.loads(path.read_text())
    path.write_text(json.dumps(entries[:-2]))
    try:
        assert suite(place, "tape", *options, "--seeds", "1") == 2
        assert "is a run with other data; name another folder" in capsys.readouterr().err
        assert set(pl.read_csv(output / "suite.csv")["seeds"]) == {1, 2}
        assert suite(place, "tape", *options, "--seeds", "1", "--overwrite") == 0
    finally:
        path.write_text(json.dumps(entries))
    assert set(pl.read_csv(output / "suite.csv")["seeds"]) == {1}


def test_another_test_file_is_tested_and_nothing_trained(place: Path) -> None:
    output = place / "tested"
    options = ["--tasks", "fluorescence", "--control", "false", "--output", str(output), "--quick"]
    assert suite(place, "tape", *options, "--seeds", "0", "1") == 0
    weights = sorted(output.glob("*/encoder/*/checkpoints/best.ckpt"))
    before = [path.stat().st_mtime_ns for path in weights]
    path = place / "data" / "tape" / "fluorescence" / "fluorescence_test.json"
    entries = json.loads(path.read_text())
    path.write_text(json.dumps(entries[:-2]))
    try:
        # Seed 0 is not asked for, but it is in the table.
        assert suite(place, "tape", *options, "--seeds", "1") == 0
    finally:
        path.write_text(json.dumps(entries))
    assert [path.stat().st_mtime_ns for path in weights] == before
    table = pl.read_csv(output / "suite.csv")
    assert set(table["n"]) == {len(entries) - 2}
    rows = pl.concat(
        [pl.read_parquet(path) for path in output.glob("fluorescence/**/results.parquet")]
    )
    assert set(rows["n"]) == {len(entries) - 2}
    assert rows["data_fingerprint"].n_unique() == 1
    of_baselines = rows.filter(~pl.col("model").str.contains("encoder"))
    assert set(of_baselines["seed"]) == {0}  # the YAML's, whatever the runs' are


@pytest.mark.full
@pytest.mark.parametrize("name", ["tape", "proteinglue"])
def test_the_whole_suite_runs_with_several_seeds(place: Path, name: str) -> None:
    output = ["--output", str(place / f"whole_{name}")]
    assert suite(place, name, "--quick", "--seeds", "0", "1", "--patience", "1", *output) == 0
    table = pl.read_csv(place / f"whole_{name}" / "suite.csv").filter(
        pl.col("model").is_in(["pre-trained encoder", "random encoder"])
    )
    assert set(table["seeds"]) == {2}
    there = {"tape": {"ss3", "ss8", "contacts", "fluorescence"}}
    assert set(table["task"]) == there.get(
        name,
        {"ss3", "ss8", "buried", "solvent_accessibility", "ppi", "epitope", "patch_rank"},
    )
    assert table["sd"].null_count() == 0


def test_a_folder_that_is_not_there_is_one_line(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BIOTE_DATA", str(place / "nowhere"))
    assert main(["suite", "tape", "--encoder", str(place / "encoder")]) == 2
    assert f"--data: no folder {place / 'nowhere'}; name it there" in capsys.readouterr().err
