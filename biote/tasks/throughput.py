"""Speed of a training run: tokens and floating-point operations per second."""

from __future__ import annotations

import logging
import time
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer

from biote.batch import MaskedBatch, PackedBatch
from biote.contrastive_batch import ContrastiveBatch
from biote.modules.base import EncoderModule
from biote.tasks.flops import batch_flops, compute_precision, device_name, peak_flops

logger = logging.getLogger(__name__)


class Throughput(Callback):
    """Logs how fast a run is, every so many optimiser steps.

    ``tokens_per_s`` and ``model_tflops_per_s`` are those of all ranks together. ``mfu`` is the
    share of what the devices could do at most, logged where that is known. ``tokens`` are those of
    the run so far. Padding is no token; what share of the batches it is, is logged as
    ``padding_fraction``. Validation and saving are not training time. See
    `biote.tasks.flops.model_flops` for what operations are counted.

    Where there is no progress bar, it writes a line with them and the training loss instead.

    Args:
        every_n_steps: Optimiser steps between two figures; a figure is their mean.
    """

    def __init__(self, every_n_steps: int = 10) -> None:
        self._every_n_steps = every_n_steps
        self._peak: float | None = None
        self._began: float | None = None
        self._stopped = 0.0
        self._step = 0
        self._begin_anew()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look up what the device can do."""
        self._stop_clock(trainer)
        self._begin_anew()
        self._step = trainer.global_step
        name, precision = device_name(trainer.strategy.root_device), compute_precision(trainer)
        self._peak = peak_flops(name, precision)
        if self._peak is None and trainer.is_global_zero:
            logger.info("The peak of %s in %s is not known: no mfu is logged.", name, precision)

    def on_train_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: PackedBatch | ContrastiveBatch,
        batch_idx: int,
    ) -> None:
        if self._began is None and isinstance(batch, PackedBatch):  # others hold no tokens
            self._began = time.perf_counter()

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: PackedBatch | ContrastiveBatch,
        batch_idx: int,
    ) -> None:
        if not isinstance(batch, PackedBatch):
            return
        padding = batch.padding_tokens if isinstance(batch, MaskedBatch) else 0
        self._padding += padding
        self._tokens += sum(batch.lengths) - padding
        if isinstance(pl_module, EncoderModule):
            self._flops += batch_flops(
                pl_module.encoder_config, batch, vocab_size=pl_module.vocab_size
            )
        if trainer.global_step != self._step:
            self._step = trainer.global_step
            if self._step % self._every_n_steps == 0:
                self._stop_clock(trainer)
                self._log(trainer, pl_module, batch)
                self._begin_anew()
                self._began = self._stopped

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Validation is not training time."""
        self._stop_clock(trainer)

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Nor is saving."""
        self._stop_clock(trainer)

    def _log(self, trainer: Trainer, pl_module: LightningModule, batch: PackedBatch) -> None:
        # Groups have about the same length on every rank: its own tokens stand for the others'.
        ranks = trainer.world_size
        figures = {"tokens_per_s": ranks * self._tokens / self._seconds}
        if self._flops:
            per_second = self._flops / self._seconds
            figures["model_tflops_per_s"] = ranks * per_second / 1e12
            if self._peak is not None:
                figures["mfu"] = per_second / self._peak
        if isinstance(batch, MaskedBatch):
            figures["tokens"] = float(batch.cursor[1])
            figures["padding_fraction"] = self._padding / (self._padding + self._tokens)
        for name, figure in figures.items():
            pl_module.log(name, figure, prog_bar=name in ("tokens_per_s", "mfu"), batch_size=1)
        if trainer.progress_bar_callback is None:
            logger.info(
                "step %d, train_loss %.4f, %s tokens/s%s",
                trainer.global_step,
                float(trainer.callback_metrics.get("train_loss", float("nan"))),
                f"{figures['tokens_per_s']:,.0f}",
                f", mfu {figures['mfu']:.1%}" if "mfu" in figures else "",
            )

    def _stop_clock(self, trainer: Trainer) -> None:
        """Add the time since the clock was started; the next batch starts it again."""
        if self._began is None:
            return
        device = trainer.strategy.root_device
        if device.type == "cuda":
            # The host is ahead of the device: the time is that of the work, not of asking for it.
            torch.cuda.synchronize(device)
        self._stopped = time.perf_counter()
        self._seconds += self._stopped - self._began
        self._began = None

    def _begin_anew(self) -> None:
        self._tokens = self._padding = 0
        self._seconds = self._flops = 0.0
