"""Several runs in one table."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from biote.cli import main
from biote.commands.joined_folds import TABLE_FILE
from biote.tasks.fold_table import MEAN, ONE_PER_INPUT, POOLED, SCHEMA
from biote.tasks.results import ResultRow, write_results


@pytest.fixture
def tested(tmp_path: Path) -> Path:
    """A folder of biote test."""
    folder = tmp_path / "tested"
    folder.mkdir()
    rows = [
        ResultRow(
            benchmark="b",
            split="test",
            fold=0,
            seed=None,
            model=model,
            head="DeltaGHead",
            metric=metric,
            value=value,
            n=1234,
            unit="kcal/mol" if metric == "mae" else "",
            config_hash="",
            data_fingerprint="",
            weights_fingerprint="",
            package_version="",
        )
        for model, metric, value in (
            ("pre-trained encoder", "pcc", 0.4321),
            ("pre-trained encoder", "mae", 1.5),
            ("train mean", "pcc", math.nan),
        )
    ]
    write_results(folder, rows)
    return folder


@pytest.fixture
def crossval(tmp_path: Path) -> Path:
    """A folder of biote crossval."""
    folder = tmp_path / "crossval"
    folder.mkdir()
    common = {"model": "pre-trained encoder", "head": "DeltaGHead", "metric": "pcc", "unit": ""}
    lines = [
        {"statistic": MEAN, "rows": "all rows", "value": 0.3, "error": 0.02, "split": "test"},
        {"statistic": MEAN, "rows": ONE_PER_INPUT, "value": 0.25, "error": 0.04, "split": "test"},
        {"statistic": POOLED, "rows": "all rows", "value": 0.31, "low": 0.1, "high": 0.5,
         "split": "test"},
        {"statistic": MEAN, "rows": "all rows", "value": 0.2, "error": 0.01,
         "split": "test, strands shuffled"},
    ]  # fmt: skip
    empty = {"error": math.nan, "low": math.nan, "high": math.nan, "n": 99, "proteins": 3}
    frame = pl.DataFrame([empty | common | line for line in lines], schema_overrides=SCHEMA)
    missing = [pl.lit(None, SCHEMA[c]).alias(c) for c in SCHEMA if c not in frame.columns]
    frame.with_columns(missing).write_parquet(folder / TABLE_FILE)
    return folder


def test_ends_of_an_interval_stand_beside_their_metric(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        ResultRow(
            benchmark="b", split="test", fold=None, seed=0, model="pre-trained encoder", head="-",
            metric=metric, value=value, n=7, unit="", config_hash="", data_fingerprint="",
            weights_fingerprint="", package_version="",
        )
        for metric, value in (("auroc", 0.5), ("auroc_low", 0.4), ("auroc_high", 0.6), ("f1", 0.7))
    ]  # fmt: skip
    folder = tmp_path / "interval"
    folder.mkdir()
    write_results(folder, rows)
    assert main(["table", str(folder), "--markdown"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "| run | model | n | AUROC | F1 |",
        "| --- | --- | ---: | ---: | ---: |",
        "| interval | pre-trained encoder, seed 0 | 7 | 0.500 [0.400, 0.600] | 0.700 |",
    ]


def test_many_metrics_are_lines_and_a_number_of_rows_is_that_of_the_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    metrics = [f"metric_{i}" for i in range(9)]
    rows = [
        ResultRow(
            benchmark="b", split="test", fold=0, seed=None, model=model, head="-", metric=metric,
            value=i / 10, n=7 if i == 0 else 8, unit="", config_hash="", data_fingerprint="",
            weights_fingerprint="", package_version="",
        )
        for model in ("train mean", "pre-trained encoder")
        for i, metric in enumerate(metrics)
    ]  # fmt: skip
    rows += [
        replace(row, metric="unscored_residues", value=3770.0, unit="residues")
        for row in rows
        if row.metric == metrics[0]
    ]
    folder = tmp_path / "many"
    folder.mkdir()
    write_results(folder, rows)
    assert main(["table", str(folder), "--markdown"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:5] == [
        "| run | many | many |",
        "| --- | ---: | ---: |",
        "| model | train mean | pre-trained encoder |",
        "| n | 7 | 7 |",
        "| metric 0 | 0.000 | 0.000 |",
    ]
    assert lines[-1] == "| unscored residues (residues) | 3,770 | 3,770 |"
    assert len(lines) == 5 + len(metrics)


def test_markdown_has_a_line_for_each_run_and_split(
    tested: Path, crossval: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    output = tmp_path / "lines.parquet"
    arguments = ["table", f"folds={crossval}", str(tested), "--markdown", "--output", str(output)]
    assert main(arguments) == 0
    assert capsys.readouterr().out.splitlines() == [
        "| run | model | n | PCC | MAE (kcal/mol) |",
        "| --- | --- | ---: | ---: | ---: |",
        "| folds | pre-trained encoder | 99 | 0.300 ± 0.020 | - |",
        "| folds | pre-trained encoder (strands shuffled) | 99 | 0.200 ± 0.010 | - |",
        "| tested | pre-trained encoder | 1,234 | 0.432 | 1.500 |",
        "| tested | train mean | 1,234 | - | - |",
    ]
    assert pl.read_parquet(output).get_column("run").to_list() == ["folds"] * 2 + ["tested"] * 3


def test_statistics_and_columns_can_be_chosen(
    tested: Path, crossval: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["table", str(crossval), "--markdown", "--pooled"]) == 0
    assert "0.310 [0.100, 0.500]" in capsys.readouterr().out
    assert main(["table", str(crossval), "--markdown", "--rows", ONE_PER_INPUT]) == 0
    assert "0.250 ± 0.040" in capsys.readouterr().out
    chosen = ["--metrics", "mae", "--models", "pre-trained encoder"]
    assert main(["table", str(tested), *chosen, "--markdown"]) == 0
    shown = capsys.readouterr().out
    assert "PCC" not in shown
    assert "train mean" not in shown
    assert main(["table", str(tested)]) == 0
    assert "1,234" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--metrics", "mcc"], "--metrics: no metric 'mcc'; there are: pcc, mae"),
        (["--models", "x"], "--models: no model 'x'; there are: pre-trained encoder, train mean"),
        (["--models", "train mean", "--metrics", "mae"], "no metric 'mae'; there are: pcc"),
        (["TESTED"], "two runs are called 'tested'"),
    ],
)
def test_what_is_not_there_is_named(
    tested: Path, options: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    more = [str(tested) if option == "TESTED" else option for option in options]
    assert main(["table", str(tested), *more]) == 2
    assert said in capsys.readouterr().err


def test_folder_without_results_is_refused(
    tmp_path: Path, crossval: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["table", str(tmp_path)]) == 2
    assert "no results there" in capsys.readouterr().err
    assert main(["table", str(crossval), "--rows", "none"]) == 2
    assert "there are: all rows, one row per input" in capsys.readouterr().err
