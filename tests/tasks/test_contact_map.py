from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from lightning import Trainer
from sklearn.metrics import average_precision_score

from biote.datamodules.contact_map import ContactMapDataModule
from biote.errors import ConfigError
from biote.modules.config import EncoderConfig
from biote.modules.heads import ResidueHead, ResNetContactHead
from biote.modules.mup import FineTuningOptimizer
from biote.tasks import ContactMapTask
from biote.tasks.results import ResultsWriter

HEAD = partial(ResNetContactHead, features=8, map_width=8, blocks=1)


def make_task(data: ContactMapDataModule, encoder: EncoderConfig, **options: Any) -> ContactMapTask:
    arguments: dict[str, Any] = {
        "head": HEAD,
        "n_outputs": data.n_outputs,
        "vocab_size": data.vocab_size,
    }
    return ContactMapTask(encoder, **(arguments | options))


def make_data(table: Path, folder: Path, **options: Any) -> ContactMapDataModule:
    arguments: dict[str, Any] = {
        "batch_size": 4,
        "folds": 3,
        "fold_file": folder / "folds.parquet",
        "context": 64,
    }
    return ContactMapDataModule(table, "character", **(arguments | options))


def test_scores_are_those_of_the_written_predictions(
    make_maps: Callable[..., Path],
    make_trainer: Callable[..., Trainer],
    tiny: EncoderConfig,
    tmp_path: Path,
) -> None:
    data = make_data(make_maps(9), tmp_path)
    model = make_task(data, tiny)
    trainer = make_trainer(ResultsWriter(), max_epochs=1)
    trainer.fit(model, datamodule=data)
    assert "val_p_at_l5_medium_long" in trainer.callback_metrics
    trainer.test(model, datamodule=data, verbose=False)
    results = pl.read_parquet(tmp_path / "results.parquet")
    scores = dict(zip(results["metric"], results["value"], strict=True))
    assert set(results["n"]) == {len(data.rows("test"))}

    written = pl.read_parquet(tmp_path / "predictions.parquet")
    precisions, averages = [], []
    for row in data.rows("test"):
        places = data.proteins[row.id].coordinates.astype(np.float64)
        of = written.filter(pl.col("row_id") == row.id)
        expected = {
            (i, j): bool(np.linalg.norm(places[i] - places[j]) < 8.0)
            for i in range(len(places))
            for j in range(i + 12, len(places))
            if np.isfinite(places[[i, j]]).all()
        }
        pairs = zip(of["position"], of["other_position"], strict=True)
        found = dict(zip(pairs, of["target"], strict=True))
        assert found == expected
        best = of.sort("prediction", descending=True).head(max(1, len(places) // 5))
        precisions.append(float(best["target"].mean()))  # type: ignore[arg-type]
        if any(expected.values()):
            averages.append(average_precision_score(of["target"], of["prediction"]))
    assert scores["p_at_l5_medium_long"] == pytest.approx(np.mean(precisions), abs=1e-6)
    assert scores["auprc"] == pytest.approx(np.mean(averages), abs=1e-6)


def test_it_learns_a_contact_that_the_sequence_tells(
    make_trainer: Callable[..., Trainer], tmp_path: Path
) -> None:
    # Two tryptophans touch wherever they stand; all other residues are far from each other.
    rng = np.random.default_rng(0)
    rows = []
    for number in range(30):
        letters = rng.choice(list("AGKLE"), 30)
        first, second = int(rng.integers(0, 8)), int(rng.integers(21, 30))
        letters[[first, second]] = "W"
        places = np.zeros((30, 3))
        places[:, 0] = np.arange(30) * 50.0
        places[second] = places[first] + [0, 5, 0]
        rows.append(("".join(letters), places.ravel().tolist(), f"P{number}"))
    table = tmp_path / "planted.parquet"
    sequences, coordinates, ids = zip(*rows, strict=True)
    pl.DataFrame({"id": ids, "sequence": sequences, "coordinates": coordinates}).write_parquet(
        table
    )
    data = make_data(table, tmp_path, batch_size=5)
    encoder = EncoderConfig(width=16, layers=1, heads=2, context=64)
    model = make_task(data, encoder, optimizer=FineTuningOptimizer(lr_head=1e-2))
    trainer = make_trainer(max_epochs=12, gradient_clip_val=1.0)
    trainer.fit(model, datamodule=data)
    trainer.test(model, datamodule=data, verbose=False)
    scores = {score.metric: score.value for score in model.scores}
    assert scores["auprc"] > 0.3  # by chance 1 of 171


def test_the_loss_of_a_step_is_the_mean_of_its_proteins(
    make_maps: Callable[..., Path], tiny: EncoderConfig, make_trainer: Callable[..., Trainer],
    tmp_path: Path,
) -> None:  # fmt: skip
    data = make_data(make_maps(9), tmp_path)
    model = make_task(data, tiny)
    make_trainer(fast_dev_run=True).fit(model, datamodule=data)
    model.train()
    (batch, *_) = data.train_dataloader()
    model.log = lambda *args, **kwargs: None  # type: ignore[method-assign]
    model.step_scale = lambda: 1.0  # type: ignore[method-assign]
    with torch.no_grad():
        found = float(model.training_step(batch, 0))
        maps = model(batch)
    losses = []
    for row, logits in zip(batch.row_ids, maps, strict=True):
        places = torch.from_numpy(data.proteins[row].coordinates).double()
        terms = [
            torch.nn.functional.softplus(logits[i, j] * (1 - 2 * float(torch.dist(p, q) < 8.0)))
            for i, p in enumerate(places)
            for j, q in enumerate(places)
            if j - i >= 12 and torch.isfinite(p + q).all()
        ]
        losses.append(float(torch.stack(terms).mean()))
    assert found == pytest.approx(np.mean(losses), rel=1e-5)


def test_heads_and_data_that_do_not_fit_are_refused(
    make_maps: Callable[..., Path],
    make_table: Callable[..., Any],
    make_trainer: Callable[..., Trainer],
    tiny: EncoderConfig,
    tmp_path: Path,
) -> None:
    data = make_data(make_maps(9), tmp_path)
    with pytest.raises(ConfigError, match="heads that fit: ResNetContactHead"):
        make_task(data, tiny, head=ResidueHead)
    with pytest.raises(ConfigError, match="TableDataModule has no pairs of residues"):
        make_trainer(max_epochs=1).fit(make_task(data, tiny), datamodule=make_table())
