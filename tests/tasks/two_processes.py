"""Runs that must not depend on the number of processes.

``test_two_processes.py`` runs this file in two processes that together are one run, and once by
itself: ``python two_processes.py STRATEGY TABLE CORPUS CORPUS OUTPUT``, with the environment of
torchrun.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, Literal

import torch
from lightning import Callback, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from biote.datamodules.pretraining import CorpusSource, PretrainingDataModule
from biote.datamodules.table import SequenceColumn, TableDataModule
from biote.modules.config import EncoderConfig
from biote.modules.heads import SequenceHead
from biote.modules.mup import FineTuningOptimizer, PretrainingOptimizer
from biote.modules.sharding import whole_tensors
from biote.tasks import ClassificationTask, MaskedLMTask, RegressionTask
from biote.tasks.results import ResultsWriter
from biote.tasks.sharding import ShardedStrategy

ENCODER = EncoderConfig(width=16, layers=2, heads=2, context=64)
# A large eps keeps rounding from deciding the direction of a step.
EPS = 1e-3


class Seen(Callback):
    """Notes what this process trains on."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, ...]] = []
        self.masked: list[int] = []
        self.losses: list[float] = []

    def on_train_batch_start(self, *arguments: Any) -> None:
        batch = arguments[2]
        self.rows.append(getattr(batch, "row_ids", ()))
        self.masked.append(len(getattr(batch, "masked", ())))

    def on_train_batch_end(self, *arguments: Any) -> None:
        self.losses.append(float(arguments[2]["loss"]))


def _strategy(name: str) -> Any:
    return ShardedStrategy("float32") if name == "sharded" else name


def trainer(
    folder: Path, *callbacks: Callback, world: int, strategy: str, **options: Any
) -> Trainer:
    return Trainer(
        accelerator="cpu",
        devices=world,
        strategy=_strategy(strategy),
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        default_root_dir=folder,
        callbacks=list(callbacks),
        enable_checkpointing=any(isinstance(c, ModelCheckpoint) for c in callbacks),
        gradient_clip_val=1.0,
        **options,
    )


def keep(folder: Path, what: dict[str, Any]) -> None:
    """Save what one process saw and holds at the end."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(what, folder / f"rank{os.environ.get('RANK', '0')}.pt")


def pretrain(
    folder: Path, corpora: list[Path], *, world: int, strategy: str, accumulate: int
) -> None:
    data = PretrainingDataModule(
        [CorpusSource(folder=corpus) for corpus in corpora],
        48,
        tokens=6_000,
        tokens_per_step=280,
        validation_tokens=400,
    )
    model = MaskedLMTask(
        ENCODER,
        optimizer=PretrainingOptimizer(lr=0.02, eps=EPS),
        vocab_size=data.vocab_size,
    )
    seen = Seen()
    run = trainer(
        folder,
        seen,
        world=world,
        strategy=strategy,
        max_epochs=1,
        accumulate_grad_batches=accumulate,
    )
    run.fit(model, datamodule=data)
    summaries = {(kind, str(m)): summary for (kind, m), summary in model.summaries().items()}
    keep(
        folder,
        {
            "steps": run.global_step,
            "masked": seen.masked,
            "losses": seen.losses,
            "weights": dict(whole_tensors(model)),
            "summaries": {name: vars(summary) for name, summary in summaries.items()},
        },
    )


def finetune(
    folder: Path,
    table: Path,
    *,
    world: int,
    strategy: str,
    kind: Literal["regression", "classification"],
) -> None:
    regression = kind == "regression"
    data = TableDataModule(
        table,
        "character",
        sequences=[
            SequenceColumn(column="protein", molecule="protein"),
            SequenceColumn(column="dna", molecule="DNA"),
        ],
        labels=["energy" if regression else "kind"],
        kind=kind,
        batch_size=8,
        id_column="name",
        split_column="split",
        context=64,
    )
    options: dict[str, Any] = {
        "head": SequenceHead,
        "optimizer": FineTuningOptimizer(eps=EPS),
        "n_outputs": data.n_outputs,
        "vocab_size": data.vocab_size,
    }
    model = RegressionTask(ENCODER, **options) if regression else ClassificationTask(
        ENCODER, **options
    )  # fmt: skip
    seen = Seen()
    run = trainer(folder, seen, ResultsWriter(), world=world, strategy=strategy, max_epochs=2)
    run.fit(model, datamodule=data)
    validated = {name: float(value) for name, value in run.callback_metrics.items()}
    weights = {name: value.clone() for name, value in whole_tensors(model)}
    run.test(model, datamodule=data, verbose=False)
    keep(
        folder,
        {
            "steps": run.global_step,
            "rows": seen.rows,
            "losses": seen.losses,
            "weights": weights,
            "validated": {name: v for name, v in validated.items() if name.startswith("val_")},
        },
    )


def run_all(
    table: Path, corpora: list[Path], output: Path, *, world: int, strategy: str = "auto"
) -> None:
    how: dict[str, Any] = {"world": world, "strategy": strategy}
    pretrain(output / "pretrain", corpora, accumulate=1, **how)
    pretrain(output / "accumulate", corpora, accumulate=2, **how)
    finetune(output / "regression", table, kind="regression", **how)
    finetune(output / "classification", table, kind="classification", **how)


if __name__ == "__main__":
    torch.set_num_threads(1)
    chosen, *paths = sys.argv[1:]
    table, *corpora, output = map(Path, paths)
    run_all(table, corpora, output, world=int(os.environ["WORLD_SIZE"]), strategy=chosen)
