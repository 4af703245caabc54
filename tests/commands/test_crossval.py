from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml

from biote.cli import main
from biote.splits import load_folds
from biote.splits.homology import best_scores
from biote.synthetic.dataset import write_all
from biote.tasks.fold_table import ALL_ROWS, FOLD, POOLED

ENCODER = '{"width": 16, "layers": 1, "heads": 2, "context": 256}'


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_all(folder, seed=0, size="tiny")
    return folder


def options(data: Path, output: Path) -> list[str]:
    """A cross-validation of two folds that takes seconds."""
    return [
        "crossval", "--config", "benchmark/pronab_quick.yaml", "--data.root", str(data),
        "--data.folds", "2", "--data.fold_file", str(output / "folds.parquet"),
        "--data.tokenizer", "character", "--data.context", "256", "--trainer.max_epochs", "2",
        "--model.encoder_checkpoint", "null", "--model.encoder", ENCODER,
        "--output", str(output), "--trainer.enable_model_summary", "false",
        "--trainer.logger", "false",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both folds, as two jobs, the second first."""
    output = tmp_path_factory.mktemp("crossval")
    assert main([*options(data, output), "--folds", "1"]) == 0
    assert not (output / "crossval.parquet").exists()
    assert main([*options(data, output), "--folds", "0"]) == 0
    return output


def test_every_row_is_tested_once_by_a_model_that_has_not_seen_its_protein(whole: Path) -> None:
    # REFERENCE 6, 1.
    folds = load_folds(whole / "folds.parquet")
    joined = pl.read_parquet(whole / "predictions.parquet")
    mine = joined.filter((pl.col("model") == "random encoder") & (pl.col("split") == "test"))
    assert dict(mine.select("row_id", "fold").iter_rows()) == folds.fold_of
    assert mine.height == len(folds.row_ids)
    for fold in (0, 1):
        rows = pl.read_parquet(whole / f"fold-{fold}" / "rows.parquet")
        tested = set(rows.filter(pl.col("split") == "test")["protein"])
        assert tested.isdisjoint(rows.filter(pl.col("split") != "test")["protein"])


def test_the_table_says_what_the_folds_say(whole: Path) -> None:
    table = pl.read_parquet(whole / "crossval.parquet")
    assert set(table["run"]) == {whole.name}
    assert (whole / "crossval.png").read_bytes().startswith(b"\x89PNG")
    (protocol,) = set(table["protocol"])
    for fold in (0, 1):
        done = json.loads((whole / f"fold-{fold}" / "crossval.json").read_text())
        assert done["protocol"] == protocol
        results = pl.read_parquet(whole / f"fold-{fold}" / "results.parquet")
        own = table.filter(
            (pl.col("statistic") == FOLD)
            & (pl.col("fold") == fold)
            & (pl.col("rows") == ALL_ROWS)
            & pl.col("metric").is_in(["pcc", "mae", "spearman"])
            & ~pl.col("model").str.starts_with("oracle")
        )
        both = own.join(results, on=["model", "split", "metric"], how="full", suffix="_fold")
        assert both.height == own.height == results.height
        np.testing.assert_allclose(both["value"], both["value_fold"], atol=1e-4)
        assert (both["n"] == both["n_fold"]).all()
    assert {"random encoder", "train mean", "ridge 1-3-mers"} <= set(table["model"])
    assert any(model.startswith("trees") for model in table["model"])


def test_the_control_and_rows_held_in_training_have_their_place(
    whole: Path, data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dealt = load_folds(whole / "folds.parquet")
    proteins = sorted({protein for protein in dealt.proteins if protein is not None})
    nearest = [
        best_scores([one], [other for other in proteins if other != one]).scores[0]
        for one in proteins
    ]
    threshold = str(max(nearest) - 1e-6)  # two proteins have a similar one
    arguments = [
        *options(data, tmp_path), "--trees", "false", "--data.rule", "paper",
        "--data.threshold", threshold, "--model.encoder", "null",
        "--model.encoder_checkpoint", str(whole / "fold-0" / "encoder"),
    ]  # fmt: skip
    arguments[arguments.index("--data.tokenizer") + 1] = "null"
    with caplog.at_level("INFO"):
        assert main(arguments) == 0
    assert "rows are held in training in every fold" in caplog.text
    folds = load_folds(tmp_path / "folds.parquet")
    held = [row for row, fold in zip(folds.row_ids, folds.assignment, strict=True) if fold < 0]
    assert 0 < len(held) < len(folds.row_ids)
    predictions = pl.read_parquet(tmp_path / "predictions.parquet")
    assert set(predictions["row_id"]) == set(folds.row_ids) - set(held)
    table = pl.read_parquet(tmp_path / "crossval.parquet")
    scored = table.filter((pl.col("statistic") == POOLED) & (pl.col("metric") == "mae"))
    assert {"pre-trained encoder", "random encoder"} <= set(scored["model"])


def test_two_processes_run_the_folds_together(
    whole: Path, data: Path, tmp_path: Path, run_two: Callable[..., Any]
) -> None:
    shutil.copy(whole / "folds.parquet", tmp_path / "folds.parquet")
    two = ["--trainer.devices", "2", "--trainer.strategy", "ddp", "--baselines", "false"]
    run_two(["-m", "biote", *options(data, tmp_path), *two])
    columns = ["split", "fold", "row_id", "prediction"]
    one, both = (
        pl.read_parquet(folder / "predictions.parquet")
        .filter(pl.col("model") == "random encoder")
        .select(columns)
        .sort(columns[:3])
        for folder in (whole, tmp_path)
    )
    assert one.select(columns[:3]).equals(both.select(columns[:3]))
    np.testing.assert_allclose(both["prediction"], one["prediction"], atol=1e-3)


def test_folds_from_other_weights_in_the_same_folder_are_refused(
    whole: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    encoder = tmp_path / "encoder"
    shutil.copytree(whole / "fold-0" / "encoder", encoder)
    arguments = [
        *options(data, tmp_path), "--baselines", "false", "--folds", "0",
        "--model.encoder", "null", "--model.encoder_checkpoint", str(encoder),
    ]  # fmt: skip
    arguments[arguments.index("--data.tokenizer") + 1] = "null"
    assert main(arguments) == 0
    assert main(arguments) == 0  # done
    shutil.rmtree(encoder)
    shutil.copytree(whole / "fold-1" / "encoder", encoder)
    capsys.readouterr()
    assert main(arguments) == 2
    assert "was run with another configuration or other weights" in capsys.readouterr().err


def test_ablations_change_the_predictions_of_the_same_rows(whole: Path) -> None:
    joined = pl.read_parquet(whole / "predictions.parquet")
    own = joined.filter(pl.col("model") == "random encoder")
    wide = own.pivot("split", index=["row_id", "target"], values="prediction")
    assert wide.height == own.height / 3
    assert wide.null_count().sum_horizontal().item() == 0
    for name in ("test, strands shuffled", "test, protein only"):
        assert (wide[name] - wide["test"]).abs().max() > 0  # type: ignore[operator]
    # With nothing of the strands left, rows of one protein cannot differ.
    alone = own.filter(pl.col("split") == "test, protein only")
    spreads = alone.group_by("fold", "protein").agg(
        pl.col("prediction").max() - pl.col("prediction").min()
    )
    assert spreads["prediction"].max() < 1e-4  # type: ignore[operator]


def test_what_is_done_is_not_done_again_and_what_is_not_goes_on(
    data: Path, whole: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    output = tmp_path / "copy"
    shutil.copytree(whole, output)
    shutil.copy(whole / "folds.parquet", output / "folds.parquet")
    before = pl.read_parquet(whole / "crossval.parquet").drop("run")
    # Fold 0 was interrupted after its training; fold 1 is done.
    for name in ("crossval.json", "results.parquet", "predictions.parquet"):
        (output / "fold-0" / name).unlink()
    untouched = (output / "fold-1" / "checkpoints" / "last.ckpt").stat().st_mtime_ns
    arguments = [*options(data, output)]
    arguments[arguments.index("--data.fold_file") + 1] = str(whole / "folds.parquet")
    assert main(arguments) == 0
    assert (output / "fold-1" / "checkpoints" / "last.ckpt").stat().st_mtime_ns == untouched
    record = json.loads((output / "fold-0" / "run.json").read_text())
    assert len(record["sessions"]) == 1  # it was tested, not trained again
    after = pl.read_parquet(output / "crossval.parquet").drop("run")
    assert after.drop("protocol").equals(before.drop("protocol"))


def test_a_fold_of_another_configuration_is_not_mixed_in(
    data: Path, whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*options(data, whole), "--model.optimizer.lr_head", "0.5"]) == 2
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert "fold-0 was run with another configuration or other weights; name another" in message
    # Nor if it was run elsewhere and moved here.
    done = whole / "fold-1" / "crossval.json"
    text = done.read_text()
    done.write_text(json.dumps(json.loads(text) | {"protocol": "another"}))
    try:
        assert main([*options(data, whole), "--join"]) == 2
    finally:
        done.write_text(text)
    assert "the folds were run with different settings" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--folds", "2"], "--folds: '2' are not among the 2 folds; give numbers from 0 to 1"),
        (["--folds", "a"], "--folds: 'a' are not among the 2 folds"),
        (["--data.fold", "1"], "--data.fold: crossval sets it itself; give --folds"),
        (["--seeds", "4", "--join"], "not done: fold-0-seed-4, fold-1-seed-4; run them"),
    ],
)
def test_mistakes_are_one_line(
    data: Path, whole: Path, capsys: pytest.CaptureFixture[str], given: list[str], message: str
) -> None:
    assert main([*options(data, whole), *given]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert message in error


def test_pooled_scores_are_of_all_rows(whole: Path) -> None:
    table = pl.read_parquet(whole / "crossval.parquet")
    joined = pl.read_parquet(whole / "predictions.parquet")
    for model in ("random encoder", "ridge 1-3-mers"):
        own = joined.filter((pl.col("model") == model) & (pl.col("split") == "test"))
        line = table.filter(
            (pl.col("model") == model)
            & (pl.col("split") == "test")
            & (pl.col("metric") == "pcc")
            & (pl.col("statistic") == POOLED)
            & (pl.col("rows") == ALL_ROWS)
        ).row(0, named=True)
        expected = np.corrcoef(own["target"], own["prediction"])[0, 1]
        assert line["value"] == pytest.approx(expected, abs=1e-9)
        assert line["n"] == own.height


def test_a_fold_is_what_its_configuration_says(whole: Path) -> None:
    config = yaml.safe_load((whole / "fold-1" / "config.yaml").read_text())
    assert config["data"]["init_args"]["fold"] == 1
    assert config["trainer"]["default_root_dir"] == str(whole / "fold-1")
