"""Training runs that note what every rank is given, for ``test_distributed_loader.py``.

Two processes that together are one run: ``python distributed_loader.py FOLDER CORPUS CORPUS``, with
the environment of torchrun. Each goes on from ``FOLDER/one.ckpt``, under DDP and under FSDP.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import ModelParallelStrategy, Strategy
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard

from biote.batch import MaskedBatch
from biote.datamodules.pretraining import CorpusSource, PretrainingDataModule

STEPS = 4


class Small(LightningModule):
    """A layer that is sharded where there is a mesh."""

    def configure_model(self) -> None:
        if hasattr(self, "net"):
            return
        self.net = nn.Sequential(nn.Embedding(64, 8), nn.Linear(8, 64))
        if self.device_mesh is not None:
            fully_shard(self.net, mesh=self.device_mesh["data_parallel"])

    def training_step(self, batch: MaskedBatch, batch_idx: int) -> Tensor:
        logits = self.net(batch.ids)[batch.masked]
        losses = nn.functional.cross_entropy(logits, batch.targets, reduction="sum")
        return losses / max(1, batch.step_masked)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=0.01)


class Given(Callback):
    """Notes the batches of this process."""

    def __init__(self) -> None:
        self.batches: list[dict[str, Any]] = []

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: MaskedBatch, batch_idx: int
    ) -> None:
        kept = ("ids", "masked", "targets", "lengths", "step", "cursor", "padding_tokens")
        self.batches.append({name: getattr(batch, name) for name in kept})


def run(
    folder: Path,
    corpora: list[Path],
    *,
    name: str,
    steps: int,
    strategy: str | Strategy = "auto",
    devices: int = 1,
    checkpoint: Path | None = None,
) -> None:
    """Train to a number of steps, save a checkpoint and what this process was given."""
    given = Given()
    trainer = Trainer(
        accelerator="cpu",
        strategy=strategy,
        devices=devices,
        max_steps=steps,
        max_epochs=-1,
        accumulate_grad_batches=2 // devices,
        callbacks=[given],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
        use_distributed_sampler=False,
        default_root_dir=folder,
    )
    data = PretrainingDataModule(
        [CorpusSource(folder=corpora[0], weight=0.7), CorpusSource(folder=corpora[1], weight=0.3)],
        32,
        tokens=10**6,
        tokens_per_step=384,
        pad_to_budget=True,
        num_workers=devices - 1,
    )
    trainer.fit(Small(), datamodule=data, ckpt_path=checkpoint)
    trainer.save_checkpoint(folder / f"{name}.ckpt")
    torch.save(given.batches, folder / f"{name}-{trainer.global_rank}.pt")


def run_two(folder: Path, corpora: list[Path]) -> None:
    """Go on as one of two processes, then once more from a sharded checkpoint."""
    start = folder / "one.ckpt"
    run(folder, corpora, name="ddp", steps=2 * STEPS, strategy="ddp", devices=2, checkpoint=start)
    for name, steps, checkpoint in (
        ("fsdp", 2 * STEPS, start),
        ("fsdp-again", 3 * STEPS, folder / "fsdp.ckpt"),
    ):
        mesh = ModelParallelStrategy(data_parallel_size=2, tensor_parallel_size=1)
        run(
            folder,
            corpora,
            name=name,
            steps=steps,
            strategy=mesh,
            devices=int(os.environ["WORLD_SIZE"]),
            checkpoint=checkpoint,
        )


if __name__ == "__main__":
    torch.set_num_threads(1)
    output, *folders = map(Path, sys.argv[1:])
    run_two(output, folders)
