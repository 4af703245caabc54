"""A run with all that watches it, of any number of processes.

``test_watching_two_processes.py`` runs this file in two processes that together are one run, and
once by itself: ``python watched.py CORPUS CORPUS OUTPUT``, with the environment of torchrun.
"""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, Trainer
from torch import Tensor

from biote.batch import MaskedBatch
from biote.datamodules.pretraining import CorpusSource, PretrainingDataModule
from biote.errors import BioteError
from biote.modules.config import EncoderConfig
from biote.modules.mup import PretrainingOptimizer
from biote.tasks.activations import ActivationStatistics
from biote.tasks.gradients import GradientNorm
from biote.tasks.guard import LossGuard
from biote.tasks.masked_lm import MaskedLMTask
from biote.tasks.run_record import RunRecord
from biote.tasks.sharding import ShardedStrategy
from biote.tasks.throughput import Throughput

ENCODER = EncoderConfig(width=16, layers=2, heads=2, context=64)
BROKEN = 4
FIGURES = ("grad_norm", "lr_", "activation_", "tokens")


class OneRankBreaks(MaskedLMTask):
    """The loss of the last rank is not a number in one step."""

    def training_step(self, batch: MaskedBatch, batch_idx: int) -> Tensor:
        loss = super().training_step(batch, batch_idx)
        last = self.global_rank == self.trainer.world_size - 1
        return loss * math.nan if batch.step == BROKEN and last else loss


class Noted(Callback):
    """Notes all figures of every step."""

    def __init__(self) -> None:
        self.steps: dict[int, dict[str, float]] = {}

    def on_train_batch_end(self, trainer: Trainer, *arguments: Any) -> None:
        self.steps[trainer.global_step] = {
            name: float(value)
            for name, value in trainer.callback_metrics.items()
            if name.startswith(FIGURES) and not name.endswith("_per_s")
        }


def run(
    folder: Path, corpora: list[Path], *, strategy: str, breaks: bool, world: int
) -> dict[str, Any]:
    data = PretrainingDataModule(
        [CorpusSource(folder=corpus) for corpus in corpora],
        48,
        tokens=1_500,
        tokens_per_step=280,
        validation_tokens=400,
    )
    task = (OneRankBreaks if breaks else MaskedLMTask)(
        ENCODER,
        # A large eps keeps rounding from deciding the direction of a step.
        optimizer=PretrainingOptimizer(lr=0.02, eps=1e-3),
        vocab_size=data.vocab_size,
    )
    noted = Noted()
    chosen: Any = ShardedStrategy("float32") if strategy == "sharded" else strategy
    trainer = Trainer(
        accelerator="cpu",
        devices=world,
        strategy=chosen,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        num_sanity_val_steps=0,
        limit_val_batches=0,
        default_root_dir=folder,
        gradient_clip_val=0.5,
        accumulate_grad_batches=2,
        max_epochs=1,
        callbacks=[
            Throughput(every_n_steps=1),
            GradientNorm(every_n_steps=1),
            ActivationStatistics(every_n_steps=1),
            LossGuard(),
            RunRecord(),
            noted,
        ],
    )
    error = None
    try:
        trainer.fit(task, datamodule=data)
    except BioteError as stopped:
        error = str(stopped)
    return {"steps": noted.steps, "error": error, "global_step": trainer.global_step}


def run_all(corpora: list[Path], output: Path, *, world: int) -> dict[str, Any]:
    return {
        f"{strategy}_{what}": run(
            output / strategy / what,
            corpora,
            strategy=strategy,
            breaks=what == "broken",
            world=world,
        )
        for strategy in (("ddp", "sharded") if world > 1 else ("auto",))
        for what in ("whole", "broken")
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    *folders, output = (Path(argument) for argument in sys.argv[1:])
    found = run_all(folders, output, world=int(os.environ["WORLD_SIZE"]))
    torch.save(found, output / f"rank{os.environ['RANK']}.pt")
