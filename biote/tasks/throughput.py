"""Tokens per second of a training run."""

from __future__ import annotations

import logging
import time
from typing import Any

from lightning import Callback, LightningModule, Trainer

from biote.batch import MaskedBatch, PackedBatch

logger = logging.getLogger(__name__)


class Throughput(Callback):
    """Logs ``tokens_per_s`` (of all ranks) and ``tokens`` every so many optimiser steps.

    Padding is no token; what share of the batches it is, is logged as ``padding_fraction``.

    Where there is no progress bar, it writes a line with them and the training loss instead.

    Args:
        every_n_steps: Optimiser steps between two figures; a figure is their mean.
    """

    def __init__(self, every_n_steps: int = 10) -> None:
        self._every_n_steps = every_n_steps
        self._began: float | None = None
        self._tokens = self._padding = 0
        self._steps_at_start = 0

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: PackedBatch, batch_idx: int
    ) -> None:
        if self._began is None:
            self._began = time.perf_counter()
            self._steps_at_start = trainer.global_step

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: PackedBatch,
        batch_idx: int,
    ) -> None:
        # Groups have about the same length on every rank: its own tokens stand for the others'.
        padding = batch.padding_tokens if isinstance(batch, MaskedBatch) else 0
        self._padding += padding * trainer.world_size
        self._tokens += (sum(batch.lengths) - padding) * trainer.world_size
        assert self._began is not None
        if trainer.global_step - self._steps_at_start >= self._every_n_steps:
            seconds = time.perf_counter() - self._began
            per_second = self._tokens / seconds
            pl_module.log("tokens_per_s", per_second, prog_bar=True, batch_size=1)
            if isinstance(batch, MaskedBatch):
                pl_module.log("tokens", float(batch.cursor[1]), batch_size=1)
                share = self._padding / (self._padding + self._tokens)
                pl_module.log("padding_fraction", share, batch_size=1)
            if trainer.progress_bar_callback is None:
                logger.info(
                    "step %d, train_loss %.4f, %s tokens/s",
                    trainer.global_step,
                    float(trainer.callback_metrics.get("train_loss", float("nan"))),
                    f"{per_second:,.0f}",
                )
            self._begin_anew()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Validation is not training time: begin anew after it."""
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._began, self._tokens, self._padding = None, 0, 0
