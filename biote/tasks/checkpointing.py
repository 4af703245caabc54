"""The newest state of a run, to continue it from."""

from __future__ import annotations

from lightning import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins.io import AsyncCheckpointIO


class LastCheckpoint(ModelCheckpoint):
    """Keeps the newest state of a run as ``last.ckpt``, beside the best one.

    ModelCheckpoint's own ``save_last`` writes only when it writes the best, too.

    Args:
        dirpath: Folder of checkpoints; null takes that of the run.
        every_n_train_steps: Optimiser steps between two; null saves after every validation.
    """

    def __init__(self, dirpath: str | None = None, every_n_train_steps: int | None = None) -> None:
        super().__init__(
            dirpath=dirpath,
            filename="last",
            every_n_train_steps=every_n_train_steps,
            enable_version_counter=False,
        )


def finish_saving(trainer: Trainer) -> None:
    """Wait for checkpoints that are being written while training goes on.

    Args:
        trainer: Trainer of the run.
    """
    io = getattr(trainer.strategy, "checkpoint_io", None)
    if isinstance(io, AsyncCheckpointIO):
        io.teardown()  # ends its thread; the next checkpoint begins another
