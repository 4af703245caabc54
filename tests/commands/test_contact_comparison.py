"""The baseline of contacts has the residues of the models it stands beside."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from biote.commands.contact_comparison import SEPARATION, separation_rows
from biote.datamodules.contact_map import ContactMapDataModule
from biote.tasks.results import ResultRow

RESIDUES = list("ARNDCQEGHILKMFPSTWYV")
LENGTH, KEPT = 24, 18


def test_trimmed_residues_touch_nothing_and_all_pairs_are_written(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pl.DataFrame(
        {
            "id": [f"P{i}" for i in range(6)],
            "sequence": ["".join(rng.choice(RESIDUES, LENGTH)) for _ in range(6)],
            "coordinates": [
                (rng.normal(size=(LENGTH, 3)) * 5).astype(np.float32).ravel().tolist()
                for _ in range(6)
            ],
        },
        schema_overrides={"coordinates": pl.List(pl.Float32)},
    ).write_parquet(tmp_path / "maps.parquet")
    data = ContactMapDataModule(
        tmp_path / "maps.parquet", "character", batch_size=2, folds=3, min_separation=6,
        fold_file=tmp_path / "folds.parquet", context=KEPT + 2,
    )  # fmt: skip
    example = ResultRow(
        benchmark="contacts", split="test", fold=0, seed=0, model="encoder", head="h",
        metric="auprc", value=0.0, n=1, unit="", config_hash="", data_fingerprint="",
        weights_fingerprint="", package_version="",
    )  # fmt: skip
    rows = {row.metric: row.value for row in separation_rows(data, example, tmp_path)}
    written = pl.read_parquet(tmp_path / "predictions.parquet")
    assert set(written["model"]) == {SEPARATION}
    pairs = (LENGTH - 6) * (LENGTH - 5) // 2
    assert len(written) == len(data.rows("test")) * pairs
    trimmed = written.filter(pl.col("other_position") >= KEPT)
    assert len(trimmed) > 0
    assert set(trimmed["prediction"]) == {0.0}
    assert written.filter(pl.col("other_position") < KEPT)["prediction"].max() > 0  # type: ignore[operator]
    chosen = written.filter(pl.col("prediction") > 0.5)
    if len(chosen):
        assert rows["precision"] == pytest.approx(chosen["target"].mean())
