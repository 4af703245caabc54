"""A run on contacts that must not depend on the number of processes.

``test_contact_processes.py`` runs this file in two processes that together are one run, and once
by itself: ``python contact_processes.py STRATEGY TABLE OUTPUT``, with the environment of torchrun.
"""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning import Trainer

from biote.datamodules.contact_map import ContactMapDataModule
from biote.modules.config import EncoderConfig
from biote.modules.heads import ResNetContactHead
from biote.modules.mup import FineTuningOptimizer
from biote.modules.sharding import whole_tensors
from biote.tasks import ContactMapTask
from biote.tasks.results import ResultsWriter
from biote.tasks.sharding import ShardedStrategy


def run(table: Path, output: Path, *, world: int, strategy: str = "auto") -> None:
    data = ContactMapDataModule(
        table, "character", batch_size=3, folds=3, fold_file=output / "folds.parquet", context=64
    )
    model = ContactMapTask(
        EncoderConfig(width=16, layers=1, heads=2, context=64),
        head=partial(ResNetContactHead, features=4, map_width=4, blocks=1, checkpoint_above=20),
        # A large eps keeps rounding from deciding the direction of a step.
        optimizer=FineTuningOptimizer(eps=1e-3),
        n_outputs=1,
        vocab_size=data.vocab_size,
    )
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
        default_root_dir=output,
        callbacks=[ResultsWriter()],
        max_epochs=2,
    )
    trainer.fit(model, datamodule=data)
    validated = {name: float(value) for name, value in trainer.callback_metrics.items()}
    weights = {name: value.clone() for name, value in whole_tensors(model)}
    trainer.test(model, datamodule=data, verbose=False)
    content = {"steps": trainer.global_step, "weights": weights, "validated": validated}
    torch.save(content, output / f"rank{os.environ.get('RANK', '0')}.pt")


if __name__ == "__main__":
    torch.set_num_threads(1)
    run(
        Path(sys.argv[2]),
        Path(sys.argv[3]),
        world=int(os.environ["WORLD_SIZE"]),
        strategy=sys.argv[1],
    )
