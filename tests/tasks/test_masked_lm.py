from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from biote.batch import MaskedBatch
from biote.datamodules.pretraining import PretrainingDataModule
from biote.datamodules.table import TableDataModule
from biote.errors import ConfigError
from biote.modules.config import EncoderConfig
from biote.modules.mup import PretrainingOptimizer
from biote.modules.schedule import OneCycle
from biote.modules.weights import load_encoder_config
from biote.molecules import Modality, Molecule
from biote.tasks.export import EncoderExport
from biote.tasks.masked_lm import MaskedLMTask
from biote.tasks.results import ResultsWriter
from biote.tokenization import CharacterTokenizer

MakeTrainer = Callable[..., Trainer]
MakePretraining = Callable[..., PretrainingDataModule]
VOCABULARY = CharacterTokenizer().vocab_size


def task(encoder: EncoderConfig, **options: Any) -> MaskedLMTask:
    arguments: dict[str, Any] = {"optimizer": PretrainingOptimizer(lr=0.02)}
    return MaskedLMTask(encoder, vocab_size=VOCABULARY, **(arguments | options))


class Steps(Callback):
    """Notes batches, losses and learning rates of a run."""

    def __init__(self) -> None:
        self.batches: list[MaskedBatch] = []
        self.losses: list[float] = []
        self.rates: list[float] = []
        self.logits: list[Tensor] = []

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: MaskedBatch, batch_idx: int
    ) -> None:
        assert isinstance(pl_module, MaskedLMTask)
        self.batches.append(batch)
        with torch.no_grad():
            assert pl_module.readout is not None
            self.logits.append(pl_module.readout(pl_module.states(batch)))

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.losses.append(float(outputs["loss"]))
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])


@pytest.mark.parametrize("accumulate", [1, 3])
def test_the_loss_is_cross_entropy_over_the_masked_tokens_of_the_step(
    tiny: EncoderConfig,
    make_trainer: MakeTrainer,
    make_pretraining: MakePretraining,
    accumulate: int,
) -> None:
    # REFERENCE 6, 17.
    steps = Steps()
    make_trainer(steps, max_epochs=1, accumulate_grad_batches=accumulate).fit(
        task(tiny), datamodule=make_pretraining()
    )
    assert len(steps.losses) > 10 * accumulate
    whole: dict[int, list[float]] = {}
    for batch, logits, loss in zip(steps.batches, steps.logits, steps.losses, strict=True):
        log_probabilities = logits.double().log_softmax(-1)
        by_hand = 0.0
        for place, target in zip(batch.masked.tolist(), batch.targets.tolist(), strict=True):
            by_hand -= float(log_probabilities[place, target])
        # What is returned is divided by the number of micro-batches before it is differentiated.
        assert loss == pytest.approx(by_hand / batch.step_masked, rel=1e-5)
        whole.setdefault(batch.step, []).append(len(batch.masked))
    masked = {batch.step: batch.step_masked for batch in steps.batches}
    assert masked == {step: sum(counts) for step, counts in whole.items()}
    if accumulate > 1:
        assert any(len(set(counts)) > 1 for counts in whole.values())


def test_accumulated_micro_batches_are_one_batch(
    tiny: EncoderConfig, make_trainer: MakeTrainer, make_pretraining: MakePretraining
) -> None:
    # REFERENCE 6, 17: micro-batches hold different numbers of masked tokens.
    models = []
    for accumulate in (1, 3):
        # A large eps keeps rounding from deciding the direction of a step.
        model = task(tiny, optimizer=PretrainingOptimizer(lr=0.02, eps=1e-3))
        make_trainer(max_epochs=1, accumulate_grad_batches=accumulate, gradient_clip_val=1.0).fit(
            model, datamodule=make_pretraining(tokens=1_000)
        )
        models.append(model)
    assert models[0].trainer.global_step == models[1].trainer.global_step > 2
    for name, value in models[0].state_dict().items():
        torch.testing.assert_close(models[1].state_dict()[name], value, rtol=0, atol=1e-6)


def test_the_schedule_follows_tokens(
    tiny: EncoderConfig, make_trainer: MakeTrainer, make_pretraining: MakePretraining
) -> None:
    steps = Steps()
    schedule = OneCycle(warmup=0.3, start=0.1, end=0.1)
    make_trainer(steps, max_epochs=1).fit(
        task(tiny, schedule=schedule), datamodule=make_pretraining()
    )
    spent = 0
    for batch, rate in zip(steps.batches, steps.rates, strict=True):
        assert rate == pytest.approx(0.02 * schedule.factor(spent / 3_000))
        spent += batch.n_tokens
    assert spent >= 3_000 > spent - steps.batches[-1].n_tokens


def test_the_unigram_guess_is_what_training_counted(
    tiny: EncoderConfig, make_trainer: MakeTrainer, make_pretraining: MakePretraining
) -> None:
    model, data = task(tiny), make_pretraining()
    make_trainer(max_epochs=1).fit(model, datamodule=data)
    counts = {m: torch.zeros(VOCABULARY, dtype=torch.int64) for m in Modality}
    for batch in make_pretraining().train_dataloader():
        for place, target in zip(batch.masked.tolist(), batch.targets.tolist(), strict=True):
            counts[list(Molecule)[batch.molecules[place]].modality][target] += 1
    for i, modality in enumerate(Modality):
        assert model.unigram_counts[i].tolist() == counts[modality].tolist()
        assert counts[modality].sum() > 50

    costs: dict[Modality, list[float]] = {m: [] for m in Modality}
    hits: dict[Modality, list[bool]] = {m: [] for m in Modality}
    for batch in data.val_dataloader():
        for place, target in zip(batch.masked.tolist(), batch.targets.tolist(), strict=True):
            modality = list(Molecule)[batch.molecules[place]].modality
            seen = counts[modality]
            share = (int(seen[target]) + 1) / (int(seen.sum()) + VOCABULARY)
            costs[modality].append(-math.log(share))
            hits[modality].append(target == int(seen.argmax()))
    summaries = model.summaries()
    for modality in Modality:
        summary = summaries["unigram", modality]
        assert summary.tokens == len(costs[modality]) == summaries["model", modality].tokens
        assert summary.cross_entropy == pytest.approx(sum(costs[modality]) / summary.tokens)
        assert summary.accuracy == pytest.approx(sum(hits[modality]) / summary.tokens)
        gain, own = summaries["gain", modality], summaries["model", modality]
        assert gain.cross_entropy == pytest.approx(summary.cross_entropy - own.cross_entropy)
        assert gain.accuracy == pytest.approx(own.accuracy - summary.accuracy)


def test_counts_of_a_long_run_stay_exact(
    tiny: EncoderConfig, make_trainer: MakeTrainer, make_pretraining: MakePretraining
) -> None:
    # Float32 stops counting at 2^24, which nucleotides reach within a billion tokens.
    model = task(tiny)
    model.unigram_counts.fill_(2**24)
    steps = Steps()
    make_trainer(steps, max_epochs=1).fit(model, datamodule=make_pretraining())
    seen = sum(len(batch.masked) for batch in steps.batches)
    assert int(model.unigram_counts.sum()) == 2**24 * 2 * VOCABULARY + seen


def test_validation_is_reported_by_modality_and_over_all_masked_tokens(
    tiny: EncoderConfig, make_trainer: MakeTrainer, make_pretraining: MakePretraining
) -> None:
    model, data = task(tiny), make_pretraining()
    trainer = make_trainer(max_epochs=1)
    trainer.fit(model, datamodule=data)
    (logged,) = trainer.validate(model, datamodule=data, verbose=False)
    costs: dict[Modality, list[float]] = {m: [] for m in Modality}
    hits: dict[Modality, list[bool]] = {m: [] for m in Modality}
    with torch.no_grad():
        for batch in data.val_dataloader():
            logits = model.masked_logits(batch).log_softmax(-1)
            for i, place in enumerate(batch.masked.tolist()):
                modality = list(Molecule)[batch.molecules[place]].modality
                costs[modality].append(-float(logits[i, batch.targets[i]]))
                hits[modality].append(bool(logits[i].argmax() == batch.targets[i]))
    for modality in Modality:
        mean = sum(costs[modality]) / len(costs[modality])
        accuracy = sum(hits[modality]) / len(hits[modality])
        assert logged[f"val_loss_{modality}"] == pytest.approx(mean, rel=1e-5)
        assert logged[f"val_perplexity_{modality}"] == pytest.approx(math.exp(mean), rel=1e-4)
        assert logged[f"val_masked_accuracy_{modality}"] == pytest.approx(accuracy)
    every = [cost for found in costs.values() for cost in found]
    assert logged["val_loss"] == pytest.approx(sum(every) / len(every), rel=1e-5)


def test_a_test_writes_results_beside_the_unigram_guess(
    tiny: EncoderConfig,
    make_trainer: MakeTrainer,
    make_pretraining: MakePretraining,
    tmp_path: Path,
) -> None:
    model, data = task(tiny), make_pretraining()
    trainer = make_trainer(ResultsWriter(), max_epochs=1)
    trainer.fit(model, datamodule=data)
    trainer.test(model, datamodule=data, verbose=False)
    results = pl.read_parquet(tmp_path / "results.parquet")
    found = {row["metric"]: row for row in results.iter_rows(named=True)}
    assert set(results["split"]) == {"validation"}
    for (kind, modality), summary in model.summaries().items():
        if kind == "gain":
            continue
        prefix = "" if kind == "model" else "unigram_"
        for name, value in (
            ("cross_entropy", summary.cross_entropy),
            ("masked_accuracy", summary.accuracy),
        ):
            row = found.pop(f"{prefix}{name}_{modality}")
            assert row["value"] == value
            assert row["n"] == summary.tokens
    assert not found
    assert not (tmp_path / "predictions.parquet").exists()


def test_training_goes_on_from_an_encoder_folder_with_its_readout(
    tiny: EncoderConfig,
    make_trainer: MakeTrainer,
    make_pretraining: MakePretraining,
    tmp_path: Path,
) -> None:
    first = task(tiny)
    make_trainer(EncoderExport(), max_epochs=1).fit(first, datamodule=make_pretraining())
    assert load_encoder_config(tmp_path / "encoder").has_readout
    second = MaskedLMTask(encoder_checkpoint=str(tmp_path / "encoder"), vocab_size=VOCABULARY)
    second.configure_model()
    for name, value in second.state_dict().items():
        if name.startswith(("encoder.", "readout.")):
            assert torch.equal(value, first.state_dict()[name])


def test_labelled_data_are_refused(
    tiny: EncoderConfig, make_trainer: MakeTrainer, make_table: Callable[..., TableDataModule]
) -> None:
    with pytest.raises(ConfigError, match=r"^data: TableDataModule has no masked tokens; Masked"):
        make_trainer(max_epochs=1).fit(task(tiny), datamodule=make_table())


def test_losses_of_molecule_types_are_those_of_their_tokens(
    tiny: EncoderConfig, make_trainer: MakeTrainer, make_pretraining: MakePretraining
) -> None:
    model, data = task(tiny), make_pretraining()
    trainer = make_trainer(max_epochs=1, log_every_n_steps=1)
    trainer.fit(model, datamodule=data)
    logged = {name: float(value) for name, value in trainer.validate(model, data)[0].items()}
    losses: dict[Molecule, list[float]] = {}
    with torch.no_grad():
        for batch in data.val_dataloader():
            logits = model.masked_logits(batch)
            each = torch.nn.functional.cross_entropy(logits, batch.targets, reduction="none")
            for loss, code in zip(each, batch.molecules[batch.masked], strict=True):
                molecule = next(m for m in Molecule if m.code == int(code))
                losses.setdefault(molecule, []).append(float(loss))
    assert len(losses) >= 2
    for molecule, values in losses.items():
        expected = sum(values) / len(values)
        assert logged[f"val_loss_{molecule}"] == pytest.approx(expected, abs=1e-4)
    absent = {f"val_loss_{molecule}" for molecule in Molecule if molecule not in losses}
    assert not absent & logged.keys()
    trained = trainer.callback_metrics.keys()
    assert "val_loss_DNA" in trained
