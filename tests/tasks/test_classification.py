from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef, roc_auc_score

from biote.batch import LabelledBatch
from biote.datamodules.table import TableDataModule
from biote.errors import ConfigError
from biote.modules.config import EncoderConfig
from biote.modules.heads import MLPHead, ResidueHead, SequenceHead
from biote.modules.mup import FineTuningOptimizer
from biote.tasks.classification import ClassificationTask
from biote.tasks.results import ResultsWriter
from biote.tokenization import CharacterTokenizer

MakeTrainer = Callable[..., Trainer]
MakeTable = Callable[..., TableDataModule]
Array = np.ndarray[Any, Any]
CLASSES = ["none", "strong", "weak"]


@pytest.fixture
def make_classes(make_table: MakeTable) -> MakeTable:
    """Rows of three classes."""

    def make(**options: Any) -> TableDataModule:
        return make_table(labels=["kind"], kind="classification", **options)

    return make


def task(tiny: EncoderConfig, **options: Any) -> ClassificationTask:
    arguments: dict[str, Any] = {
        "head": SequenceHead,
        "optimizer": FineTuningOptimizer(lr_head=0.02, lr_embedding=0.02, lr_body=2e-4),
    }
    return ClassificationTask(
        tiny,
        n_outputs=3,
        vocab_size=CharacterTokenizer().vocab_size,
        **(arguments | options),
    )


def scores(targets: Array, probabilities: Array) -> dict[str, float]:
    """The metrics of the task by scikit-learn."""
    chosen = probabilities.argmax(axis=1)
    classes = np.eye(3)[targets]
    return {
        "accuracy": accuracy_score(targets, chosen),
        "mcc": matthews_corrcoef(targets, chosen),
        "f1_macro": f1_score(targets, chosen, average="macro"),
        "f1_weighted": f1_score(targets, chosen, average="weighted"),
        "auroc": roc_auc_score(classes, probabilities, average="macro"),
    }


def test_metrics_are_those_of_the_written_predictions(
    tiny: EncoderConfig, make_trainer: MakeTrainer, make_classes: MakeTable, tmp_path: Path
) -> None:
    data, model = make_classes(train=60, test=40), task(tiny)
    trainer = make_trainer(ResultsWriter(), max_epochs=3)
    trainer.fit(model, datamodule=data)
    trainer.test(model, datamodule=data, verbose=False)

    written = pl.read_parquet(tmp_path / "predictions.parquet")
    rows = data.rows("test")
    assert written["row_id"].to_list() == [row.id for row in rows for _ in range(3)]
    probabilities = written["prediction"].to_numpy().reshape(-1, 3)
    targets = written["target"].to_numpy().reshape(-1, 3)[:, 0].astype(int)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    assert targets.tolist() == [int(row.target[0]) for row in rows]
    assert data.classes == CLASSES
    chosen = probabilities.argmax(axis=1)
    assert len(set(chosen)) > 1
    expected = scores(targets, probabilities)
    results = pl.read_parquet(tmp_path / "results.parquet")
    found = dict(zip(results["metric"], results["value"], strict=True))
    assert found == pytest.approx(expected, abs=1e-5)
    assert set(results["n"]) == {40}
    assert set(results["unit"]) == {""}


def test_a_few_rows_can_be_learnt(
    tiny: EncoderConfig, make_trainer: MakeTrainer, make_classes: MakeTable
) -> None:
    data, model = make_classes(train=8, validation=0), task(tiny, head=MLPHead)
    make_trainer(max_epochs=60).fit(model, datamodule=data)
    with torch.no_grad():
        (batch,) = list(data.train_dataloader())
        assert model(batch).argmax(-1).tolist() == batch.targets.tolist()


def test_training_and_prediction_scale_the_head_alike(
    tiny: EncoderConfig, make_trainer: MakeTrainer, make_classes: MakeTable
) -> None:
    # REFERENCE 6, 11.
    losses: list[tuple[float, float]] = []

    class Compare(Callback):
        def on_train_batch_start(
            self, trainer: Trainer, pl_module: LightningModule, batch: LabelledBatch, batch_idx: int
        ) -> None:
            with torch.no_grad():
                outputs: Any = pl_module.predict_step(batch, batch_idx)
            chosen = outputs["predictions"][torch.arange(len(batch.row_ids)), batch.targets]
            self.expected = -float(chosen.log().mean())

        def on_train_batch_end(
            self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *rest: Any
        ) -> None:
            losses.append((float(outputs["loss"]), self.expected))

    make_trainer(Compare(), max_epochs=3).fit(task(tiny), datamodule=make_classes())
    assert losses[0][0] == pytest.approx(np.log(3), rel=1e-5)  # the head starts at zero
    assert losses[-1][0] != pytest.approx(np.log(3), rel=1e-3)
    for loss, expected in losses:
        assert loss == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("rows", [16, 11])
def test_accumulated_micro_batches_are_one_batch(
    tiny: EncoderConfig, make_trainer: MakeTrainer, make_classes: MakeTable, rows: int
) -> None:
    # REFERENCE 6, 6 and 17.
    models = []
    for accumulate in (1, 2):
        model = task(tiny, optimizer=FineTuningOptimizer(eps=1e-3))
        make_trainer(max_epochs=2, accumulate_grad_batches=accumulate).fit(
            model, datamodule=make_classes(train=rows)
        )
        models.append(dict(model.named_parameters()))
    for name, parameter in models[0].items():
        torch.testing.assert_close(models[1][name], parameter, rtol=0, atol=1e-6)


def test_validation_scores_are_over_the_whole_split(
    tiny: EncoderConfig, make_trainer: MakeTrainer, make_classes: MakeTable
) -> None:
    data, model = make_classes(train=60, validation=30), task(tiny)
    trainer = make_trainer(max_epochs=3)
    trainer.fit(model, datamodule=data)
    (logged,) = trainer.validate(model, datamodule=data, verbose=False)
    with torch.no_grad():
        pairs = [(model(batch).softmax(-1), batch.targets) for batch in data.val_dataloader()]
    targets = torch.cat([targets for _, targets in pairs]).numpy()
    probabilities = torch.cat([probabilities for probabilities, _ in pairs]).numpy()
    expected = scores(targets, probabilities)
    assert len(set(probabilities.argmax(axis=1))) > 1
    assert logged == pytest.approx({f"val_{name}": value for name, value in expected.items()})


def test_numbers_are_refused(
    tiny: EncoderConfig, make_trainer: MakeTrainer, make_table: MakeTable
) -> None:
    with pytest.raises(ConfigError, match=r"^data: TableDataModule has no classes to predict; use"):
        make_trainer(max_epochs=1).fit(task(tiny), datamodule=make_table())


def test_a_head_per_token_is_refused(tiny: EncoderConfig) -> None:
    with pytest.raises(ConfigError, match="ClassificationTask needs one prediction per group"):
        task(tiny, head=ResidueHead)
