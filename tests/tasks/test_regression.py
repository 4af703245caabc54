from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from biote.batch import LabelledBatch
from biote.datamodules.pretraining import PretrainingDataModule
from biote.datamodules.table import TableDataModule
from biote.errors import CheckpointError, ConfigError
from biote.modules.config import EncoderConfig
from biote.modules.encoder import Encoder
from biote.modules.heads import DeltaGHead, MLPHead, ResidueHead, SequenceHead
from biote.modules.mup import FineTuningOptimizer
from biote.modules.schedule import OneCycle
from biote.modules.weights import save_encoder
from biote.tasks.regression import RegressionTask
from biote.tasks.results import ResultsWriter
from biote.tokenization import CharacterTokenizer

MakeTrainer = Callable[..., Trainer]
MakeTable = Callable[..., TableDataModule]
VOCABULARY = CharacterTokenizer().vocab_size
FAST = FineTuningOptimizer(lr_head=0.02, lr_embedding=0.02, lr_body=2e-4)


def task(tiny: EncoderConfig, **options: Any) -> RegressionTask:
    arguments: dict[str, Any] = {"head": DeltaGHead, "n_outputs": 1, "optimizer": FAST}
    return RegressionTask(tiny, vocab_size=VOCABULARY, **(arguments | options))


def predicted(model: RegressionTask, batches: Any) -> tuple[Tensor, Tensor]:
    """Predictions and targets of all rows of a loader."""
    model.eval()
    with torch.no_grad():
        pairs = [(model(batch), batch.targets) for batch in batches]
    return torch.cat([p for p, _ in pairs]), torch.cat([t for _, t in pairs])


class TrainingOutputs(Callback):
    """Notes the loss of every training batch beside what prediction says of its rows."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.predictions: list[Tensor] = []
        self.targets: list[Tensor] = []

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: LabelledBatch, batch_idx: int
    ) -> None:
        pl_module.eval()
        with torch.no_grad():
            outputs: Any = pl_module.predict_step(batch, batch_idx)
        pl_module.train()
        self.predictions.append(outputs["predictions"])
        self.targets.append(batch.targets)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.losses.append(float(outputs["loss"]))


def test_a_few_rows_can_be_learnt(
    tiny: EncoderConfig, make_trainer: MakeTrainer, make_table: MakeTable
) -> None:
    data, model = make_table(train=8, validation=0, test=3), task(tiny, head=MLPHead)
    make_trainer(max_epochs=60).fit(model, datamodule=data)
    predictions, targets = predicted(model, data.train_dataloader())
    spread = float(targets.std())
    assert float((predictions - targets).abs().mean()) < 0.1 * spread


def test_before_training_the_training_mean_is_predicted(
    tiny: EncoderConfig, make_trainer: MakeTrainer, make_table: MakeTable
) -> None:
    data, model = make_table(), task(tiny)
    trainer = make_trainer(ResultsWriter())
    (scores,) = trainer.test(model, datamodule=data, verbose=False)
    train = np.array([row.target[0] for row in data.rows("train")])
    test = np.array([row.target[0] for row in data.rows("test")])
    assert float(model.target_mean) == pytest.approx(train.mean(), rel=1e-6)
    assert float(model.target_std) == pytest.approx(train.std(), rel=1e-6)
    assert scores["test_mae"] == pytest.approx(np.abs(test - train.mean()).mean(), rel=1e-5)


def test_units_of_the_targets_change_predictions_and_nothing_else(
    tiny: EncoderConfig, make_trainer: MakeTrainer, make_table: MakeTable
) -> None:
    found = []
    for scale, shift in ((1.0, 0.0), (-40.0, 1_000.0)):
        data, model = make_table(scale=scale, shift=shift), task(tiny, head=SequenceHead)
        make_trainer(max_epochs=4, gradient_clip_val=1.0).fit(model, datamodule=data)
        found.append(predicted(model, data.test_dataloader())[0])
    if float(found[0].std()) < 0.1:
        pytest.fail("the model predicts a constant: this test shows nothing")
    # Standardised by a negative factor the targets change their sign, and so do the predictions.
    torch.testing.assert_close(found[1], found[0] * -40 + 1_000, rtol=1e-3, atol=0.4)


def test_training_test_and_prediction_scale_the_head_alike(
    tiny: EncoderConfig, make_trainer: MakeTrainer, make_table: MakeTable, tmp_path: Path
) -> None:
    # REFERENCE 6, 11: a head scaled by 1024 / D in training must be so at test.
    data, model, seen = make_table(), task(tiny), TrainingOutputs()
    trainer = make_trainer(seen, ResultsWriter(), max_epochs=3)
    trainer.fit(model, datamodule=data)
    assert len(seen.losses) == 9
    assert float(seen.predictions[-1].std()) > 0.01
    for loss, outputs, targets in zip(seen.losses, seen.predictions, seen.targets, strict=True):
        errors = (outputs - targets) / model.target_std
        assert loss == pytest.approx(float(errors.square().mean()), rel=1e-5)

    trainer.test(model, datamodule=data, verbose=False)
    tested = pl.read_parquet(tmp_path / "predictions.parquet")["prediction"].to_torch()
    parts: Any = trainer.predict(model, datamodule=data)
    foretold = torch.cat([part["predictions"] for part in parts])[:, 0]
    assert [row for part in parts for row in part["row_ids"]] == [
        row.id for row in data.rows("test")
    ]
    assert isinstance(model.head, DeltaGHead)
    assert isinstance(model.head.readout.bias, Tensor)
    by_hand = []
    with torch.no_grad():
        for batch in data.test_dataloader():
            first = model.states(batch)[batch.first_tokens]
            linear = first @ model.head.readout.weight.T + model.head.readout.bias
            by_hand.append(linear[:, 0] * 1024 / 16 * model.target_std + model.target_mean)
    torch.testing.assert_close(tested.float(), torch.cat(by_hand), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(foretold, torch.cat(by_hand), rtol=1e-5, atol=1e-5)


def rank(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.argsort(np.argsort(values)).astype(float)


@pytest.mark.parametrize("labels", [["energy"], ["energy", "other"]])
def test_metrics_are_those_of_the_written_predictions(
    tiny: EncoderConfig,
    make_trainer: MakeTrainer,
    make_table: MakeTable,
    tmp_path: Path,
    labels: list[str],
) -> None:
    data = make_table(labels=labels)
    model = task(tiny, head=SequenceHead, n_outputs=len(labels))
    trainer = make_trainer(ResultsWriter(), max_epochs=2)
    trainer.fit(model, datamodule=data)
    trainer.test(model, datamodule=data, verbose=False)

    written = pl.read_parquet(tmp_path / "predictions.parquet")
    assert written["row_id"].unique(maintain_order=True).to_list() == [
        row.id for row in data.rows("test")
    ]
    expected: dict[str, list[float]] = {"pcc": [], "spearman": [], "mae": []}
    for output in range(len(labels)):
        part = written.filter(pl.col("output") == output)
        target, prediction = part["target"].to_numpy(), part["prediction"].to_numpy()
        np.testing.assert_allclose(
            target, [row.target[output] for row in data.rows("test")], rtol=1e-6
        )
        expected["pcc"].append(np.corrcoef(target, prediction)[0, 1])
        expected["spearman"].append(np.corrcoef(rank(target), rank(prediction))[0, 1])
        expected["mae"].append(np.abs(target - prediction).mean())
    results = pl.read_parquet(tmp_path / "results.parquet")
    assert set(results["metric"]) == set(expected)
    for row in results.iter_rows(named=True):
        assert row["value"] == pytest.approx(np.mean(expected[row["metric"]]), abs=1e-5)
        assert row["n"] == 10
        assert row["unit"] == ("kcal/mol" if row["metric"] == "mae" else "")


def test_every_validation_is_scored_by_itself(
    tiny: EncoderConfig, make_trainer: MakeTrainer, make_table: MakeTable
) -> None:
    logged: list[tuple[float, float]] = []
    data = make_table()

    class Compare(Callback):
        def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            assert isinstance(pl_module, RegressionTask)
            predictions, targets = predicted(pl_module, data.val_dataloader())
            found = float(trainer.callback_metrics["val_mae"])
            logged.append((found, float((predictions - targets).abs().mean())))

    make_trainer(Compare(), max_epochs=3).fit(task(tiny), datamodule=data)
    assert len(logged) == 3
    for found, expected in logged:
        assert found == pytest.approx(expected, rel=1e-5)


def test_every_parameter_of_the_task_learns(
    tiny: EncoderConfig, make_trainer: MakeTrainer, make_table: MakeTable
) -> None:
    # REFERENCE 6, 6: the optimiser must hold the module that runs.
    model = task(tiny, optimizer=FineTuningOptimizer(weight_decay=0.0))
    model.configure_model()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    # The head starts at zero: the encoder has a gradient from the second step on.
    trainer = make_trainer(max_steps=2)
    trainer.fit(model, datamodule=make_table())
    (optimizer,) = trainer.optimizers
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert held == {id(p) for p in model.parameters()}
    for name, parameter in model.named_parameters():
        assert not torch.equal(parameter, before[name]), name


@pytest.mark.parametrize("rows", [16, 11])
def test_accumulated_micro_batches_are_one_batch(
    tiny: EncoderConfig, make_trainer: MakeTrainer, make_table: MakeTable, rows: int
) -> None:
    # REFERENCE 6, 6 and 17: eight rows at once, or as 4 + 4 (and of the last three 2 + 1).
    models = []
    for accumulate in (1, 2):
        # A large eps keeps rounding from deciding the direction of a step.
        model = task(tiny, optimizer=FineTuningOptimizer(eps=1e-3))
        trainer = make_trainer(
            max_epochs=2, accumulate_grad_batches=accumulate, gradient_clip_val=1.0
        )
        trainer.fit(model, datamodule=make_table(train=rows))
        assert trainer.global_step == 4
        models.append(dict(model.named_parameters()))
    for name, parameter in models[0].items():
        torch.testing.assert_close(models[1][name], parameter, rtol=0, atol=1e-6)


def test_data_of_another_kind_are_refused(
    tiny: EncoderConfig,
    make_trainer: MakeTrainer,
    make_table: MakeTable,
    make_pretraining: Callable[..., PretrainingDataModule],
) -> None:
    classes = make_table(labels=["kind"], kind="classification")
    for data in (classes, make_pretraining()):
        with pytest.raises(ConfigError, match=r"^data: \w+ has no numbers to predict; use Class"):
            make_trainer(max_epochs=1).fit(task(tiny), datamodule=data)


def test_a_head_that_does_not_fit_is_refused_before_it_is_allocated(tiny: EncoderConfig) -> None:
    devices = []

    def head(width: int, n_outputs: int) -> ResidueHead:
        devices.append(torch.get_default_device().type)
        return ResidueHead(width, n_outputs)

    with pytest.raises(ConfigError) as caught:
        task(tiny, head=head)
    message = str(caught.value)
    assert message.startswith(
        "model.head: ResidueHead predicts per token, RegressionTask needs one prediction per "
        "group; heads that fit: "
    )
    assert "\n" not in message
    fitting = message.partition("heads that fit: ")[2].split(", ")
    assert {"DeltaGHead", "MLPHead", "SequenceHead"} <= set(fitting)
    assert "ResidueHead" not in fitting
    assert set(devices) == {"meta"}


def test_a_head_that_refuses_the_number_of_targets_is_refused(tiny: EncoderConfig) -> None:
    with pytest.raises(ConfigError, match="DeltaGHead predicts one number, the data has 2 targets"):
        task(tiny, n_outputs=2)


def test_an_encoder_of_another_tokenizer_is_refused(
    tiny: EncoderConfig, make_trainer: MakeTrainer, make_table: MakeTable, tmp_path: Path
) -> None:
    # REFERENCE 6, 16.
    save_encoder(
        tmp_path / "encoder",
        encoder=Encoder(tiny, VOCABULARY),
        readout=None,
        tokenizer_fingerprint="another",
        extra={},
    )
    model = RegressionTask(
        encoder_checkpoint=str(tmp_path / "encoder"),
        head=DeltaGHead,
        n_outputs=1,
        vocab_size=VOCABULARY,
    )
    with pytest.raises(CheckpointError, match="another tokenizer than the encoder was trained"):
        make_trainer(max_epochs=1).fit(model, datamodule=make_table())
    assert model.encoder is None


def test_a_checkpoint_of_another_fold_is_not_tested(
    tiny: EncoderConfig, make_trainer: MakeTrainer, make_table: MakeTable, tmp_path: Path
) -> None:
    # REFERENCE 6, 1: tested on this fold, it would be tested on rows it was trained on.
    def fold(number: int) -> TableDataModule:
        file = tmp_path / "folds.parquet"
        return make_table(split_column=None, fold_file=file, folds=4, fold=number)

    keep = ModelCheckpoint(tmp_path, save_last=True)
    make_trainer(keep, max_epochs=1).fit(task(tiny), datamodule=fold(0))
    last = tmp_path / "last.ckpt"
    make_trainer().test(task(tiny), datamodule=fold(0), ckpt_path=last, verbose=False)
    for run in ("test", "fit"):
        with pytest.raises(CheckpointError, match="trained on another split of the data"):
            getattr(make_trainer(max_epochs=2), run)(task(tiny), datamodule=fold(1), ckpt_path=last)
    with pytest.raises(CheckpointError, match="trained with head DeltaGHead, this run has MLPHead"):
        make_trainer().test(task(tiny, head=MLPHead), datamodule=fold(0), ckpt_path=last)


def test_statistics_come_from_the_checkpoint(
    tiny: EncoderConfig, make_trainer: MakeTrainer, make_table: MakeTable, tmp_path: Path
) -> None:
    model = task(tiny)
    make_trainer(ModelCheckpoint(tmp_path, save_last=True), max_epochs=1).fit(
        model, datamodule=make_table()
    )
    checkpoint = torch.load(tmp_path / "last.ckpt", weights_only=True)
    for name in ("target_mean", "target_std"):
        assert torch.equal(checkpoint["state_dict"][name], getattr(model, name))


def test_the_schedule_spans_the_run(
    tiny: EncoderConfig, make_trainer: MakeTrainer, make_table: MakeTable
) -> None:
    rates: list[float] = []

    class Rates(Callback):
        def on_before_optimizer_step(self, *arguments: Any) -> None:
            rates.append(arguments[2].param_groups[0]["lr"])

    schedule = OneCycle(warmup=0.25, start=0.1, end=0.01)
    model = task(tiny, schedule=schedule)
    make_trainer(Rates(), max_epochs=4, accumulate_grad_batches=2).fit(
        model, datamodule=make_table()
    )
    assert rates == pytest.approx([0.02 * schedule.factor(step / 12) for step in range(12)])
