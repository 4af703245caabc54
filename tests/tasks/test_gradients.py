from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from lightning import Callback, Trainer
from lightning.pytorch.loggers import CSVLogger
from torch import nn

from biote.datamodules.pretraining import PretrainingDataModule
from biote.modules.config import EncoderConfig
from biote.tasks.gradients import GradientNorm, gradient_norm
from biote.tasks.masked_lm import MaskedLMTask
from biote.tokenization import CharacterTokenizer


class Noted(Callback):
    """Notes the gradient before clipping, and what was logged."""

    def __init__(self) -> None:
        self.before: list[float] = []
        self.rates: list[dict[str, float]] = []
        self.logged: dict[int, dict[str, float]] = {}

    def on_before_optimizer_step(self, trainer: Trainer, *arguments: Any) -> None:
        self.before.append(_norm(arguments[0]))
        self.rates.append({g["name"]: g["lr"] for g in arguments[1].param_groups})

    def on_train_batch_end(self, trainer: Trainer, *arguments: Any) -> None:
        there = {
            name: float(value)
            for name, value in trainer.callback_metrics.items()
            if name == "grad_norm" or name.startswith("lr_")
        }
        if there and there not in self.logged.values():
            self.logged[trainer.global_step] = there


def _norm(module: nn.Module) -> float:
    squares = [(p.grad.double() ** 2).sum() for p in module.parameters() if p.grad is not None]
    return float(torch.stack(squares).sum().sqrt())


@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_norm_before_clipping_and_every_rate_are_logged(
    tiny: EncoderConfig,
    make_trainer: Callable[..., Trainer],
    make_pretraining: Callable[..., PretrainingDataModule],
    accumulate: int,
) -> None:
    noted = Noted()
    make_trainer(
        GradientNorm(every_n_steps=3),
        noted,
        max_epochs=1,
        accumulate_grad_batches=accumulate,
        gradient_clip_val=1e-3,
        limit_val_batches=0,
    ).fit(
        MaskedLMTask(tiny, vocab_size=CharacterTokenizer().vocab_size),
        datamodule=make_pretraining(),
    )
    assert list(noted.logged)[:3] == [3, 6, 9]
    for step, found in noted.logged.items():
        assert found["grad_norm"] == pytest.approx(noted.before[step - 1], rel=1e-5)
        assert found["grad_norm"] > 2e-3
        rates = {f"lr_{name}": rate for name, rate in noted.rates[step - 1].items()}
        assert {n: v for n, v in found.items() if n != "grad_norm"} == pytest.approx(rates)
        assert len(rates) == 4
    # The schedule moves, and the groups differ.
    assert noted.logged[3]["lr_hidden"] != noted.logged[9]["lr_hidden"]
    assert noted.logged[3]["lr_hidden"] != noted.logged[3]["lr_embedding"]


def test_by_default_the_figures_reach_the_log_whenever_lightning_writes_it(
    tiny: EncoderConfig,
    make_pretraining: Callable[..., PretrainingDataModule],
    tmp_path: Path,
) -> None:
    logger = CSVLogger(tmp_path)
    Trainer(
        accelerator="cpu",
        logger=logger,
        log_every_n_steps=4,
        callbacks=[GradientNorm()],
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        num_sanity_val_steps=0,
        limit_val_batches=0,
        max_epochs=1,
    ).fit(
        MaskedLMTask(tiny, vocab_size=CharacterTokenizer().vocab_size),
        datamodule=make_pretraining(),
    )
    table = pl.read_csv(Path(logger.log_dir) / "metrics.csv")
    assert len(table) >= 3
    written = table.select("train_loss", "grad_norm", "lr_readout", "lr_vector")
    assert written.null_count().sum_horizontal().item() == 0


def test_zero_steps_log_nothing(
    tiny: EncoderConfig,
    make_trainer: Callable[..., Trainer],
    make_pretraining: Callable[..., PretrainingDataModule],
) -> None:
    trainer = make_trainer(GradientNorm(every_n_steps=0), max_epochs=1, limit_val_batches=0)
    trainer.fit(
        MaskedLMTask(tiny, vocab_size=CharacterTokenizer().vocab_size),
        datamodule=make_pretraining(),
    )
    assert "grad_norm" not in trainer.callback_metrics


def test_frozen_parameters_have_no_gradient_and_none_at_all_is_zero() -> None:
    frozen, trained = nn.Linear(3, 4), nn.Linear(4, 2)
    layers = nn.Sequential(frozen, trained)
    assert float(gradient_norm(layers)) == 0
    frozen.requires_grad_(False)
    layers(torch.ones(5, 3)).sum().backward()
    assert float(gradient_norm(layers)) == pytest.approx(_norm(trained))
    assert trained.weight.grad is not None
    trained.weight.grad[0, 0] = float("inf")
    assert float(gradient_norm(layers)) == float("inf")
