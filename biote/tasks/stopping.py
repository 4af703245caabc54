"""Stopping on a signal: save, leave with exit code 0, go on later with ``--ckpt_path auto``."""

from __future__ import annotations

import logging
import signal
from pathlib import Path
from types import FrameType
from typing import Any, Final

import torch
from lightning import Callback, LightningModule, Trainer
from torch import distributed

from biote.tasks.checkpointing import LastCheckpoint, finish_saving

logger = logging.getLogger(__name__)

_SIGNALS: Final = (signal.SIGTERM, signal.SIGUSR1)
"""What batch systems send before they end a job: the first by themselves, the second where a job
asks for it."""


class Stopped(Exception):
    """A run that saved itself and ends before its time.

    Args:
        checkpoint: Where it saved.
        step: Optimiser steps done.
    """

    def __init__(self, checkpoint: Path, step: int) -> None:
        self.checkpoint = checkpoint
        self.step = step
        super().__init__(f"stopped by a signal after step {step}; saved as {checkpoint}")


class StopOnSignal(Callback):
    """Saves ``last.ckpt`` and ends the run after the batch in which SIGTERM or SIGUSR1 came.

    All processes stop together, whichever of them was told.
    """

    def __init__(self) -> None:
        self._told = False
        self._group: Any = None
        self._before: dict[signal.Signals, Any] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the signals over from Lightning, which would end the run without saving it."""
        self._told = False
        for number in _SIGNALS:
            self._before[number] = signal.signal(number, self._note)
        if trainer.world_size > 1:
            # On the processors, so that asking never waits for what a GPU has still to do.
            # Lightning's own question to all processes does, in every step.
            self._group = distributed.new_group(backend="gloo")
            loop: Any = trainer.fit_loop.epoch_loop
            loop._broadcast_sigterm_tensor = lambda: None

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save and end the run, if any process was told to.

        Raises:
            Stopped: When the run is saved.
        """
        if not self._all_told():
            return
        path = last_checkpoint(trainer)
        trainer.save_checkpoint(path)
        finish_saving(trainer)
        for chosen in trainer.loggers:
            chosen.save()
        raise Stopped(path, trainer.global_step)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Give the signals back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._told = True

    def _all_told(self) -> bool:
        if self._group is None:
            return self._told
        told = torch.tensor([self._told], dtype=torch.uint8)
        distributed.all_reduce(told, op=distributed.ReduceOp.MAX, group=self._group)
        return bool(told)


def last_checkpoint(trainer: Trainer) -> Path:
    """Where the newest state of a run is kept.

    Args:
        trainer: Trainer of the run.
    """
    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, LastCheckpoint) and callback.dirpath is not None:
            return Path(callback.dirpath) / "last.ckpt"
    return Path(trainer.default_root_dir) / "checkpoints" / "last.ckpt"
