"""Sizes of what the blocks of an encoder compute, on request.

Legend: T packed tokens, D width, L layers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from biote.batch import MaskedBatch, PackedBatch
from biote.contrastive_batch import ContrastiveBatch
from biote.errors import ConfigError
from biote.modules.base import EncoderModule

KINDS: Final = ("attention", "mlp", "states")
STATISTICS: Final = ("mean_abs", "std", "max_abs")


class ActivationStatistics(Callback):
    """Logs how large the updates and states of every block are, every so many optimiser steps.

    ``activation_attention_3_mean_abs`` is the mean absolute size of what attention adds to the
    states in block 3, counted from 0; ``mlp`` is the feed-forward layer and ``states`` what leaves
    the block; ``std`` is the standard deviation and ``max_abs`` the largest absolute value. They
    are over all features of all tokens of the step, all ranks, padding left out.

    Args:
        every_n_steps: Optimiser steps between two looks; 0 never looks and costs nothing.

    Raises:
        ConfigError: If it is negative.
    """

    def __init__(self, every_n_steps: int = 0) -> None:
        if every_n_steps < 0:
            raise ConfigError(
                f"{every_n_steps} steps",
                where="activations.every_n_steps",
                mend="give a positive number, or 0 for none",
            )
        self._every_n_steps = every_n_steps
        self._handles: list[RemovableHandle] = []
        self._looking = False
        self._tokens = 0
        self._sums: dict[tuple[str, int], Tensor] = {}
        self._largest: dict[tuple[str, int], Tensor] = {}

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Hook into every block, before any of them is compiled.

        Raises:
            ConfigError: If the task has no encoder.
        """
        if self._every_n_steps == 0:
            return
        if not isinstance(pl_module, EncoderModule) or pl_module.encoder is None:
            raise ConfigError(
                f"{type(pl_module).__name__} has no encoder",
                where="activations.every_n_steps",
                mend="set it to 0",
            )
        for number, block in enumerate(pl_module.encoder.blocks):
            for kind, module in (
                ("attention", block.attention),
                ("mlp", block.mlp),
                ("states", block),
            ):
                assert isinstance(module, nn.Module)
                hook = self._hook((kind, number))
                self._handles.append(module.register_forward_hook(hook))

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Take the hooks out."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._forget()

    def on_train_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: PackedBatch | ContrastiveBatch,
        batch_idx: int,
    ) -> None:
        every = self._every_n_steps
        self._looking = every > 0 and (trainer.global_step + 1) % every == 0
        if not isinstance(batch, PackedBatch):
            return  # no encoder runs on it
        padding = batch.padding_tokens if isinstance(batch, MaskedBatch) else 0
        self._tokens = batch.n_tokens - padding

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        """Log what all micro-batches of the step together gave."""
        if not self._looking:
            return
        places = list(self._sums)
        sums = torch.stack([self._sums[place] for place in places])  # (3 L, 4)
        largest = torch.stack([self._largest[place] for place in places])  # (3 L,)
        if trainer.world_size > 1:
            torch.distributed.all_reduce(sums)
            torch.distributed.all_reduce(largest, torch.distributed.ReduceOp.MAX)
        values, total, absolute, squares = sums.unbind(1)
        mean = total / values
        std = (squares / values - mean**2).clamp(min=0).sqrt()
        rows = torch.stack([absolute / values, std, largest], 1)  # (3 L, 3)
        for (kind, number), row in zip(places, rows, strict=True):
            for name, value in zip(STATISTICS, row, strict=True):
                pl_module.log(f"activation_{kind}_{number}_{name}", value, batch_size=1)
        self._forget()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Validation is not looked at."""
        self._looking = False

    def _forget(self) -> None:
        self._looking = False
        self._sums.clear()
        self._largest.clear()

    def _hook(self, place: tuple[str, int]) -> Callable[[nn.Module, Any, Any], None]:
        def look(module: nn.Module, inputs: Any, output: Any) -> None:
            if self._looking:
                self._count(place, output[0] if isinstance(output, tuple) else output)

        # A compiled block is cut here: what is counted is no part of its graph.
        hook: Callable[[nn.Module, Any, Any], None] = torch.compiler.disable(look)
        return hook

    @torch.no_grad()
    def _count(self, place: tuple[str, int], output: Tensor) -> None:
        # Where a block is computed twice to save memory, all its sums are doubled alike.
        values = output.detach()[: self._tokens]  # (T, D)
        norm = torch.linalg.vector_norm
        sums = torch.stack(
            [
                torch.full((), float(values.numel()), device=values.device),
                values.sum(dtype=torch.float32),
                norm(values, 1, dtype=torch.float32),
                norm(values, 2, dtype=torch.float32) ** 2,
            ]
        )
        largest = (
            norm(values, torch.inf, dtype=torch.float32)
            if values.numel()
            else torch.zeros((), device=values.device)
        )
        if place in self._sums:
            sums = sums + self._sums[place]
            largest = torch.maximum(largest, self._largest[place])
        self._sums[place], self._largest[place] = sums, largest
