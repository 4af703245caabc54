"""Folds of contact maps, whose predictions are of pairs of residues."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from biote.cli import main

RESIDUES = list("ARNDCQEGHILKMFPSTWYV")
LENGTHS = (30, 34, 28, 32, 10, 36)
"""The fifth protein is too short to have a pair at a separation of 12."""


@pytest.fixture
def table(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    path = tmp_path / "maps.parquet"
    pl.DataFrame(
        {
            "id": [f"P{i}" for i in range(len(LENGTHS))],
            "sequence": ["".join(rng.choice(RESIDUES, length)) for length in LENGTHS],
            "coordinates": [
                (rng.normal(size=(length, 3)) * 6).astype(np.float32).ravel().tolist()
                for length in LENGTHS
            ],
        },
        schema_overrides={"coordinates": pl.List(pl.Float32)},
    ).write_parquet(path)
    return path


def test_folds_of_maps_are_joined_and_a_fold_that_lacks_pairs_is_refused(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [
        "crossval", "--config", "benchmark/tape_contacts_quick.yaml",
        "--data.root", str(table), "--data.name", "maps", "--data.folds", "3",
        "--data.fold_file", str(tmp_path / "folds.parquet"), "--data.context", "48",
        "--model.encoder_checkpoint", "null", "--data.tokenizer", "character",
        "--model.encoder", "{width: 16, layers: 1, heads: 2, context: 48}",
        "--model.head.init_args.features", "4", "--model.head.init_args.map_width", "4",
        "--model.head.init_args.blocks", "1", "--trainer.max_epochs", "1",
        "--output", str(tmp_path / "run"),
    ]  # fmt: skip
    assert main(arguments) == 0
    joined = pl.read_parquet(tmp_path / "run" / "crossval.parquet")
    means = joined.filter(pl.col("statistic") == "mean over folds", pl.col("metric") == "auprc")
    assert set(means["model"]) == {"random encoder", "contact frequency by separation"}
    assert set(means["n"]) == {len(LENGTHS)}
    expected = sum((length - 12) * (length - 11) // 2 for length in LENGTHS if length > 12)
    predictions = pl.read_parquet(tmp_path / "run" / "predictions.parquet")
    assert set(predictions.group_by("model").len()["len"]) == {expected}

    path = tmp_path / "run" / "fold-1" / "predictions.parquet"
    written = pl.read_parquet(path)
    first = pl.struct("model", "row_id", "position", "other_position")
    lost = written.select(first).row(0)
    written.filter(first != pl.lit(lost[0])).write_parquet(path)
    capsys.readouterr()
    assert main(arguments) == 2
    assert "its predictions are not those of all rows of the fold" in capsys.readouterr().err
