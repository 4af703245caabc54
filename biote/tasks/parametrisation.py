"""Masked language modelling in muP, and in standard parametrisation to compare it with.

Legend: D width, d features of a head, M masked tokens, V vocabulary.

| | muP, as biote trains | standard |
| --- | --- | --- |
| learning rate of hidden matrices | lr x 32 / D | lr |
| attention | softmax(8 / D x q k) | softmax(q k / sqrt(d)) |
| readout | 32 / D x W x, W from std 1e-5 | W x, W from std 1 / sqrt(D) |

Everything else is the same: sizes, initial hidden matrices and embedding, Adam's betas, clipping.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import AdamW

from biote.batch import MaskedBatch, PackedBatch
from biote.modules.attention import GroupLayout
from biote.modules.config import EncoderConfig
from biote.modules.encoder import Encoder
from biote.modules.mup import PretrainingOptimizer
from biote.modules.readout import Readout
from biote.modules.rotary import rotary_table
from biote.tasks.masked_lm import MaskedLMTask

Parametrisation = Literal["mup", "standard"]

HEAD_WIDTH = 32
"""Features of a head, d, the same at every width as in the published sizes (128 there)."""

_CLIP_NORM = 1.0


def sizes(width: int, *, layers: int, context: int) -> EncoderConfig:
    """Sizes of an encoder whose heads have `HEAD_WIDTH` features.

    Args:
        width: Width, D; a multiple of `HEAD_WIDTH`.
        layers: Number of blocks.
        context: Longest group, in tokens.
    """
    return EncoderConfig(width=width, layers=layers, heads=width // HEAD_WIDTH, context=context)


class LanguageModel:
    """Encoder, readout and optimiser in a plain loop, the same batch for all widths.

    In muP they are those of `MaskedLMTask`, so what is true of this model is true of training.

    Args:
        config: Sizes.
        vocab_size: Number of token ids, V.
        parametrisation: How learning rates, attention and readout depend on width.
        lr: Learning rate, in muP that of embedding and readout.
        seed: Decides the initial weights.
    """

    def __init__(
        self,
        config: EncoderConfig,
        vocab_size: int,
        *,
        parametrisation: Parametrisation,
        lr: float,
        seed: int,
    ) -> None:
        settings = PretrainingOptimizer(lr=lr)
        task = MaskedLMTask(config, optimizer=settings, vocab_size=vocab_size, init_seed=seed)
        task.configure_model()
        assert task.encoder is not None
        assert task.readout is not None
        self.encoder: Encoder = task.encoder
        self.readout: Readout = task.readout
        if parametrisation == "mup":
            self.optimizer = task.configure_optimizers()
        else:
            self.encoder = _StandardEncoder(config, vocab_size, seed=seed)
            width = config.width
            self.readout = Readout(width, vocab_size, base_width=width, bias=False, std=width**-0.5)
            self.readout.reset_parameters(seed=seed)
            parts = nn.ModuleList([self.encoder, self.readout])
            # The groups of the base width, at which every one of them learns at lr.
            self.optimizer = AdamW(
                settings.groups(parts, settings.base_width),
                betas=settings.betas,
                eps=settings.eps,
            )
        self._peaks = [float(group["lr"]) for group in self.optimizer.param_groups]

    def logits(self, batch: MaskedBatch) -> Tensor:
        """Logits at the masked tokens, (M, V)."""
        logits: Tensor = self.readout(self.encoder(batch)[batch.masked])
        return logits

    def loss(self, batch: MaskedBatch) -> Tensor:
        """Mean cross-entropy over the masked tokens, nats."""
        return functional.cross_entropy(self.logits(batch), batch.targets)

    def step(self, batch: MaskedBatch, *, factor: float = 1.0) -> float:
        """Take one optimiser step.

        Args:
            batch: All tokens of the step.
            factor: Learning rates of the step, relative to those of the optimiser's groups.

        Returns:
            Mean cross-entropy over the masked tokens before the step, nats. Where it is not
            finite no step is taken.
        """
        for group, peak in zip(self.optimizer.param_groups, self._peaks, strict=True):
            group["lr"] = peak * factor
        loss = self.loss(batch)
        value = float(loss.detach())
        if math.isfinite(value):
            self.optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            weights = [*self.encoder.parameters(), *self.readout.parameters()]
            torch.nn.utils.clip_grad_norm_(weights, _CLIP_NORM)
            self.optimizer.step()
        return value


class _StandardEncoder(Encoder):
    """The encoder with attention softmax(q k / sqrt(d)), by which every kernel divides anyway."""

    def forward(self, batch: PackedBatch) -> Tensor:
        table = rotary_table(batch.positions, self.config.head_width, theta=self.config.rope_theta)
        layout = GroupLayout(table, batch.cu_seqlens, batch.lengths)
        states: Tensor = self.embedding(batch.ids)
        for block in self.blocks:
            states, _ = block(states, layout)
        normalised: Tensor = self.norm(states)
        return normalised
