"""Size of the gradient and learning rates of a training run."""

from __future__ import annotations

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer


def gradient_norm(module: nn.Module) -> Tensor:
    """Euclidean norm of all gradients together; every rank has to ask for it where they are shared.

    The host does not wait for it.

    Args:
        module: Module after a backward pass, its gradients sharded or not.

    Returns:
        A float32 scalar on the device of the gradients, the same on every rank.
    """
    gradients = [
        parameter.grad.detach() for parameter in module.parameters() if parameter.grad is not None
    ]
    norm = torch.nn.utils.get_total_norm(gradients)
    return (norm.full_tensor() if isinstance(norm, DTensor) else norm).float()


class GradientNorm(Callback):
    """Logs ``grad_norm``, the norm before clipping, and ``lr_<group>`` of every parameter group.

    Args:
        every_n_steps: Optimiser steps between two figures; null takes trainer.log_every_n_steps,
            0 logs none.
    """

    def __init__(self, every_n_steps: int | None = None) -> None:
        self._every_n_steps = every_n_steps

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        every = self._every_n_steps
        if every is None:
            every = trainer.log_every_n_steps  # type: ignore[attr-defined]
        if every == 0 or (trainer.global_step + 1) % every:
            return
        pl_module.log("grad_norm", gradient_norm(pl_module), batch_size=1)
        for number, group in enumerate(optimizer.param_groups):
            pl_module.log(f"lr_{group.get('name', number)}", group["lr"], batch_size=1)
