from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from lightning import Trainer

from biote.datamodules.table import TableDataModule
from biote.errors import DataError
from biote.modules.config import EncoderConfig
from biote.modules.heads import MLPHead, SequenceHead
from biote.modules.weights import weights_fingerprint
from biote.tasks.regression import RegressionTask
from biote.tasks.results import (
    ResultRow,
    ResultsWriter,
    prediction_frame,
    read_results,
    write_predictions,
    write_results,
)
from biote.tokenization import CharacterTokenizer
from biote.version import __version__

MakeTrainer = Callable[..., Trainer]
MakeTable = Callable[..., TableDataModule]
COLUMNS = {
    "benchmark": pl.String,
    "split": pl.String,
    "fold": pl.Int64,
    "seed": pl.Int64,
    "model": pl.String,
    "head": pl.String,
    "metric": pl.String,
    "value": pl.Float64,
    "n": pl.Int64,
    "unit": pl.String,
    "config_hash": pl.String,
    "data_fingerprint": pl.String,
    "weights_fingerprint": pl.String,
    "package_version": pl.String,
}
ROW = ResultRow(
    benchmark="b", split="test", fold=0, seed=0, model="m", head="h", metric="mae", value=1.0, n=10,
    unit="kcal/mol", config_hash="c", data_fingerprint="d", weights_fingerprint="w",
    package_version="v",
)  # fmt: skip


def task(tiny: EncoderConfig, head: type[SequenceHead | MLPHead] = SequenceHead) -> RegressionTask:
    return RegressionTask(tiny, head=head, n_outputs=1, vocab_size=CharacterTokenizer().vocab_size)


def test_a_test_writes_what_the_design_asks_for(
    tiny: EncoderConfig, make_trainer: MakeTrainer, make_table: MakeTable, tmp_path: Path
) -> None:
    folds: dict[str, Any] = {"split_column": None, "fold_file": tmp_path / "f.parquet", "folds": 4}
    data, model = make_table(name="binding", seed=5, fold=2, **folds), task(tiny)
    writer = ResultsWriter()
    model.training_config = "model: tiny"
    trainer = make_trainer(writer)
    trainer.test(model, datamodule=data, verbose=False)
    results = pl.read_parquet(tmp_path / "results.parquet")
    assert dict(results.schema) == COLUMNS
    assert results["metric"].to_list() == ["mae", "pcc", "spearman"]
    for name, value in {
        "benchmark": "binding",
        "split": "test",
        "fold": 2,
        "seed": 5,
        "model": "random encoder",
        "head": "SequenceHead",
        "n": len(data.rows("test")),
        "config_hash": model.config_hash,
        "data_fingerprint": data.data_fingerprint,
        "weights_fingerprint": weights_fingerprint(model),
        "package_version": __version__,
    }.items():
        assert results[name].unique().to_list() == [value], name
    assert [row.metric for row in writer.rows] == results["metric"].to_list()
    predictions = pl.read_parquet(tmp_path / "predictions.parquet")
    assert predictions["row_id"].to_list() == [row.id for row in data.rows("test")]
    assert predictions["fold"].unique().to_list() == [2]


def test_a_second_test_replaces_the_first(
    tiny: EncoderConfig, make_trainer: MakeTrainer, make_table: MakeTable, tmp_path: Path
) -> None:
    # Without folds the fold is missing: a value like any other.
    data, model = make_table(), task(tiny)
    trainer = make_trainer(ResultsWriter(), max_epochs=1)
    trainer.test(model, datamodule=data, verbose=False)
    first = {name: pl.read_parquet(tmp_path / f"{name}.parquet") for name in NAMES}
    assert first["results"]["fold"].null_count() == 3
    trainer.fit(model, datamodule=data)
    trainer.test(model, datamodule=data, verbose=False)
    second = {name: pl.read_parquet(tmp_path / f"{name}.parquet") for name in NAMES}
    for name, changed in (("results", "value"), ("predictions", "prediction")):
        assert len(second[name]) == len(first[name])
        assert second[name][changed].to_list() != first[name][changed].to_list()


NAMES = ("results", "predictions")


def test_tests_of_other_models_stay(
    tiny: EncoderConfig, make_trainer: MakeTrainer, make_table: MakeTable, tmp_path: Path
) -> None:
    for name in ("one", "two", "one"):
        make_trainer(ResultsWriter(model=name)).test(
            task(tiny), datamodule=make_table(), verbose=False
        )
    for file, rows in (("results", 3), ("predictions", 10)):
        models = pl.read_parquet(tmp_path / f"{file}.parquet")["model"]
        assert models.value_counts().sort("model").rows() == [("one", rows), ("two", rows)]


@pytest.mark.parametrize(
    "changes",
    [
        {"benchmark": "other"},
        {"split": "validation"},
        {"fold": 1},
        {"fold": None},
        {"seed": 1},
        {"model": "other"},
        {"head": "other"},
        {"metric": "pcc"},
    ],
)
def test_only_the_same_evaluation_is_replaced(tmp_path: Path, changes: dict[str, Any]) -> None:
    other = replace(ROW, **changes)
    write_results(tmp_path, [ROW])
    write_results(tmp_path, [other])
    write_results(tmp_path, [replace(other, value=2.0, n=11, weights_fingerprint="x")])
    found = read_results([tmp_path])
    assert found["value"].to_list() == [1.0, 2.0]
    assert found["n"].to_list() == [10, 11]
    assert not list(tmp_path.glob("*.partial"))


def test_folders_are_joined(tmp_path: Path) -> None:
    for fold in range(3):
        write_results(tmp_path / str(fold), [replace(ROW, fold=fold, value=float(fold))])
    found = read_results([tmp_path / str(fold) for fold in range(3)])
    assert found["value"].to_list() == [0.0, 1.0, 2.0]
    assert dict(found.schema) == COLUMNS
    with pytest.raises(DataError, match="no results there; run biote test first"):
        read_results([tmp_path / "0", tmp_path / "none"])


def test_predictions_of_several_targets_name_theirs(tmp_path: Path) -> None:
    frame = prediction_frame(
        model="m",
        split="test",
        fold=None,
        row_ids=["a", "b"],
        targets=torch.tensor([[1.0, 2.0], [3.0, 4.0]]),
        predictions=torch.tensor([[1.5, 2.5], [3.5, 4.5]]),
    )
    write_predictions(tmp_path, frame)
    write_predictions(tmp_path, frame)
    found = pl.read_parquet(tmp_path / "predictions.parquet")
    assert found.select("row_id", "output", "target", "prediction").rows() == [
        ("a", 0, 1.0, 1.5),
        ("a", 1, 2.0, 2.5),
        ("b", 0, 3.0, 3.5),
        ("b", 1, 4.0, 4.5),
    ]
