"""A run that must not depend on the number of processes; see ``test_residues.py``.

``python residue_processes.py FILES OUTPUT``, with the environment of torchrun.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from lightning import Trainer

from biote.datamodules.contacts import ContactsDataModule
from biote.datamodules.residue_table import ResidueTableDataModule
from biote.datamodules.residues import ResidueDataModule
from biote.modules.config import EncoderConfig
from biote.modules.heads import ResidueHead
from biote.modules.mup import FineTuningOptimizer
from biote.tasks import ResidueBinaryTask, ResidueClassificationTask, ResidueRegressionTask
from biote.tasks.residues import ResidueTask
from biote.tasks.results import ResultsWriter

TASKS: dict[str, type[ResidueTask]] = {
    "classes": ResidueClassificationTask,
    "binary": ResidueBinaryTask,
    "values": ResidueRegressionTask,
}


def data_of(kind: str, files: Path, folds: Path) -> ResidueDataModule:
    # Steps of 9 rows; the last test step of the 10 rows leaves one process without any.
    common: dict[str, Any] = {
        "tokenizer": "character", "batch_size": 9, "fold": 0, "folds": 3, "context": 64,
        "fold_file": folds,
    }  # fmt: skip
    if kind == "binary":
        return ContactsDataModule(files / "contacts.parquet", **common)
    return ResidueTableDataModule(
        files / "table.parquet",
        sequence="sequence",
        label="state" if kind == "classes" else "value",
        kind="classes" if kind == "classes" else "values",
        classes=["H", "E", "C"] if kind == "classes" else None,
        **common,
    )


def run_all(files: Path, output: Path, *, world: int) -> None:
    for kind in TASKS:
        run(kind, files, output / kind, world=world)


def run(kind: str, files: Path, output: Path, *, world: int) -> None:
    folds = output.parent / f"{output.name}{os.environ.get('RANK', '')}.folds"
    data = data_of(kind, files, folds)
    model = TASKS[kind](
        EncoderConfig(width=16, layers=2, heads=2, context=64),
        head=ResidueHead,
        n_outputs=data.n_outputs,
        vocab_size=data.vocab_size,
        optimizer=FineTuningOptimizer(eps=1e-3),  # a small one lets rounding decide a step
    )
    trainer = Trainer(
        accelerator="cpu",
        devices=world,
        strategy="ddp" if world > 1 else "auto",
        max_epochs=2,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        default_root_dir=output,
        callbacks=[ResultsWriter()],
    )
    trainer.fit(model, datamodule=data)
    trainer.test(model, datamodule=data, verbose=False)


if __name__ == "__main__":
    run_all(Path(sys.argv[1]), Path(sys.argv[2]), world=2)
