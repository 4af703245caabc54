"""Cross-entropy of many classes on the CPU, in the memory of the logits.

Legend: M rows, V classes.
"""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import functional

_CACHED: Final = 2**18
"""Logits that stay in a core's cache between the passes over them."""


def cross_entropy(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy of every row, and the class with the highest logit.

    On the CPU the logits are overwritten: with tens of thousands of classes, a probability and a
    gradient of their own would cost as much time as the layers below.

    Args:
        logits: (M, V), of any floating-point type; not to be used afterwards.
        targets: Class indices, (M,).

    Returns:
        Cross-entropy in nats, float32, (M,), and class indices, (M,).
    """
    if logits.device.type == "cpu":
        found: tuple[Tensor, Tensor] = _InPlace.apply(  # type: ignore[no-untyped-call]
            logits.float(), targets
        )
        return found
    return (
        functional.cross_entropy(logits.float(), targets, reduction="none"),
        logits.detach().argmax(-1),
    )


class _InPlace(torch.autograd.Function):
    """The logits become exponentials, and in the backward pass their gradient."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        values = logits.detach()
        losses = values.new_empty(len(values))
        predicted = torch.empty_like(targets)
        sums = torch.empty_like(losses)
        for part in _parts(values):
            rows = values[part]
            highest, predicted[part] = rows.max(-1)
            rows -= highest[:, None]
            losses[part] = rows.gather(1, targets[part, None])[:, 0]
            torch.sum(rows.exp_(), -1, out=sums[part])
        losses = sums.log() - losses
        ctx.exponentials, ctx.sums, ctx.targets = values, sums, targets
        ctx.mark_non_differentiable(predicted)
        return losses, predicted

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        values, scale = ctx.exponentials, gradients[0]
        del ctx.exponentials  # overwritten: a second backward pass is refused
        for part in _parts(values):
            values[part] *= (scale[part] / ctx.sums[part])[:, None]
        values[torch.arange(len(values)), ctx.targets] -= scale
        return values, None


def _parts(values: Tensor) -> list[slice]:
    size = max(1, _CACHED // max(1, values.shape[1]))
    return [slice(start, start + size) for start in range(0, len(values), size)]
