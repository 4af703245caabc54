"""The coordinate check: does the size of activations depend on the width?

Legend: D width, V vocabulary.

In muP the mean absolute size of every activation stays what it is when a model is made wider,
before training and after every optimiser step. In standard parametrisation it grows, and with it
the learning rate that training bears shrinks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn

from biote.batch import MaskedBatch
from biote.modules.block import Block
from biote.tasks.parametrisation import LanguageModel, Parametrisation, sizes

PARAMETRISATIONS: Final[tuple[Parametrisation, ...]] = ("mup", "standard")
LOGITS: Final = "logits"


@dataclass(frozen=True, kw_only=True)
class ActivationSize:
    """Mean absolute size of one activation; a row of the table."""

    parametrisation: Parametrisation
    width: int
    seed: int
    step: int
    """Optimiser steps taken before."""

    activation: str
    """``attention``, ``feed-forward`` (what they add to the states) or ``states`` with the number
    of the block, or ``logits``."""

    size: float
    """Mean absolute value over tokens and features."""


def measure(
    batches: Sequence[MaskedBatch],
    *,
    parametrisation: Parametrisation,
    width: int,
    layers: int,
    vocab_size: int,
    lr: float,
    seed: int,
) -> list[ActivationSize]:
    """Train one model and measure its activations before every step.

    Args:
        batches: One batch a step, and a last one to measure after the last step.
        parametrisation: How the model depends on its width.
        width: Width, D.
        layers: Number of blocks.
        vocab_size: Number of token ids, V.
        lr: Learning rate.
        seed: Decides the initial weights.
    """
    context = max(max(batch.lengths) for batch in batches)
    model = LanguageModel(
        sizes(width, layers=layers, context=context),
        vocab_size,
        parametrisation=parametrisation,
        lr=lr,
        seed=seed,
    )
    found: dict[str, float] = {}
    _watch(model, found)
    rows: list[ActivationSize] = []
    for step, batch in enumerate(batches):
        if step < len(batches) - 1:
            model.step(batch)
        else:
            with torch.no_grad():
                model.loss(batch)
        rows += [
            ActivationSize(
                parametrisation=parametrisation,
                width=width,
                seed=seed,
                step=step,
                activation=name,
                size=size,
            )
            for name, size in found.items()
        ]
    return rows


def _watch(model: LanguageModel, found: dict[str, float]) -> None:
    """Note the size of every activation of a forward pass."""

    def note(module: nn.Module, name: str) -> None:
        def hook(
            _module: nn.Module, _inputs: object, output: Tensor | tuple[Tensor, object]
        ) -> None:
            states = output if isinstance(output, Tensor) else output[0]
            found[name] = float(states.detach().abs().mean())

        module.register_forward_hook(hook)

    for number, block in enumerate(model.encoder.blocks, start=1):
        assert isinstance(block, Block)
        note(block.attention, f"attention {number}")
        note(block.mlp, f"feed-forward {number}")
        note(block, f"states {number}")
    note(model.readout, LOGITS)


def slopes(table: pl.DataFrame) -> pl.DataFrame:
    """Slopes of log size against log width.

    Args:
        table: Rows of `ActivationSize`, two widths or more.

    Returns:
        ``parametrisation``, ``activation``, ``step`` and ``slope`` of the least-squares line
        through the geometric means over seeds: 0 is flat, 1 grows with the width. NaN where an
        activation is not finite.
    """
    keys = ["parametrisation", "activation", "step"]
    rows = []
    means = table.group_by([*keys, "width"], maintain_order=True).agg(pl.col("size").log().mean())
    for key, part in means.group_by(keys, maintain_order=True):
        logs = part["size"].to_numpy()
        slope = float("nan")
        if np.isfinite(logs).all():
            slope = float(np.polyfit(np.log(part["width"].to_numpy()), logs, 1)[0])
        rows.append(dict(zip(keys, key, strict=True)) | {"slope": slope})
    return pl.DataFrame(rows)


def judged(table: pl.DataFrame) -> pl.DataFrame:
    """The activations that have to keep their size.

    All but the logits before training: the readout starts next to zero, so they have no size
    yet, and may shrink with the width.

    Args:
        table: Rows with ``activation`` and ``step``.
    """
    return table.filter((pl.col("activation") != LOGITS) | (pl.col("step") > 0))


def mean_slopes(slopes: pl.DataFrame) -> pl.DataFrame:
    """The mean slope of every activation over the judged steps, the steepest first.

    A single step of few tokens has noise in its slope that the mean over steps has not.

    Args:
        slopes: What `slopes` returns.

    Returns:
        ``parametrisation``, ``activation`` and ``slope``; NaN, which comes first, where the
        activation is not finite at any step.
    """
    far = pl.col("slope").abs().fill_nan(float("inf"))
    means = judged(slopes).group_by("parametrisation", "activation", maintain_order=True)
    return means.agg(pl.col("slope").mean()).sort(far, descending=True, maintain_order=True)


def is_flat(slopes: pl.DataFrame, *, tolerance: float) -> bool:
    """Whether no mean slope is steeper than the tolerance, up or down.

    Args:
        slopes: What `slopes` returns, one judged row or more.
        tolerance: Steepest mean slope that is flat.
    """
    return bool(abs(mean_slopes(slopes)["slope"][0]) <= tolerance)  # NaN is not
