"""What biote's training step is compared with: the usual way to write it, and its products alone.

Documents are packed in rows of the whole context and kept apart by a float mask that is added to
the scores of every head, in the open or inside torch's fused attention. Logits are computed at
every position, and the loss leaves out those that were not masked.

Legend: B rows, N tokens of a row, D width, H heads, d features of a head, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from biote.batch import MaskedBatch
from biote.modules.config import EncoderConfig

IGNORED = -100
"""Label of a token that is not to be predicted."""

CLIP_NORM = 1.0
"""Norm that gradients are clipped to."""


class PlainAttention(nn.Module):
    """Multi-head attention over whole rows."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self._heads = heads

    def forward(self, states: Tensor, turns: Tensor, mask: Tensor, *, fused: bool) -> Tensor:
        """Attend wherever the mask is 0.

        Args:
            states: (B, N, D).
            turns: Complex rotary factors, (B, N, 1, d / 2).
            mask: 0, or minus infinity where a token must not be seen, (B, 1, N, N).
            fused: Whether to call torch's fused attention, or softmax between two products.
        """
        rows, tokens, width = states.shape
        parts = self.qkv(states).view(rows, tokens, 3, self._heads, -1).unbind(2)
        queries = rotate(parts[0], turns).transpose(1, 2)  # (B, H, N, d)
        keys, values = rotate(parts[1], turns).transpose(1, 2), parts[2].transpose(1, 2)
        scale = 8 / width
        if fused:
            mask = mask.to(queries.dtype)
            mixed = functional.scaled_dot_product_attention(
                queries, keys, values, attn_mask=mask, scale=scale
            )
        else:
            scores = queries @ keys.transpose(2, 3) * scale + mask  # (B, H, N, N)
            mixed = scores.softmax(-1).to(values.dtype) @ values
        update: Tensor = self.out(mixed.transpose(1, 2).reshape(rows, tokens, width))
        return update


class PlainBlock(nn.Module):
    """Attention and gated feed-forward layer, each after a norm."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(width, eps=1e-10)
        self.attention = PlainAttention(width, heads)
        self.norm_mlp = nn.LayerNorm(width, eps=1e-10)
        self.up = nn.Linear(width, 4 * width, bias=False)
        self.down = nn.Linear(2 * width, width, bias=False)

    def forward(self, states: Tensor, turns: Tensor, mask: Tensor, *, fused: bool) -> Tensor:
        """See `PlainAttention.forward`."""
        states = states + self.attention(self.norm_attention(states), turns, mask, fused=fused)
        hidden, gate = self.up(self.norm_mlp(states)).chunk(2, dim=-1)
        updated: Tensor = states + self.down(hidden * functional.silu(gate))
        return updated


class PlainTransformer(nn.Module):
    """The encoder and its readout.

    Args:
        vocab_size: Number of token ids, V.
        width: Features of a token, D.
        layers: Number of blocks.
        heads: Heads of a block, H.
        context: Tokens of a row, N.
    """

    turns: Tensor

    def __init__(
        self, vocab_size: int, *, width: int, layers: int, heads: int, context: int
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, width)
        self.blocks = nn.ModuleList(PlainBlock(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width, eps=1e-10)
        self.readout = nn.Linear(width, vocab_size, bias=False)
        pairs = torch.arange(0, width // heads, 2).float() / (width // heads)
        angles = torch.arange(context).float()[:, None] * 10_000.0**-pairs
        self.register_buffer("turns", torch.polar(torch.ones_like(angles), angles))
        self._width = width

    def forward(self, ids: Tensor, documents: Tensor, positions: Tensor, *, fused: bool) -> Tensor:
        """Logits at every position, (B, N, V).

        Args:
            ids: Token ids, (B, N).
            documents: Number of the document that each token belongs to, (B, N).
            positions: Position of every token in its document, (B, N).
            fused: See `PlainAttention.forward`.
        """
        mask = document_mask(documents)
        turns = self.turns[positions].unsqueeze(2)  # (B, N, 1, d / 2)
        states = self.embedding(ids)
        for block in self.blocks:
            states = block(states, turns, mask, fused=fused)
        logits: Tensor = self.readout(self.norm(states)) * (32 / self._width)
        return logits

    def take_weights(self, encoder: Mapping[str, Tensor], readout: Tensor) -> None:
        """Copy the weights of biote's encoder and readout.

        Args:
            encoder: State of the encoder by name.
            readout: Weight of the readout, (V, D).
        """
        taken = {"readout.weight": readout, "turns": self.turns}
        unbiased = math.sqrt((self._width - 1) / self._width)
        for name, weight in encoder.items():
            if name.endswith(".alpha"):
                taken[name.removesuffix("alpha") + "weight"] = weight * unbiased
            else:
                renamed = name.removesuffix("gamma") + "bias" if name.endswith("gamma") else name
                taken[renamed.replace(".mlp.", ".")] = weight
        self.load_state_dict(taken)


def rotate(part: Tensor, turns: Tensor) -> Tensor:
    """Rotate adjacent pairs of features of queries or keys, (B, N, H, d)."""
    pairs = torch.view_as_complex(part.float().reshape(*part.shape[:-1], -1, 2))
    return torch.view_as_real(pairs * turns).flatten(-2).type_as(part)


def document_mask(documents: Tensor) -> Tensor:
    """Additive mask that keeps documents apart, float32, (B, 1, N, N).

    Args:
        documents: Number of the document that each token belongs to, (B, N).
    """
    apart = documents.unsqueeze(2) != documents.unsqueeze(1)  # (B, N, N)
    return torch.zeros(apart.shape).masked_fill(apart, -torch.inf).unsqueeze(1)


def plain_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy over the labelled positions.

    Args:
        logits: (B, N, V).
        labels: Token ids, `IGNORED` where nothing is to be predicted, (B, N).
    """
    return functional.cross_entropy(
        logits.float().view(-1, logits.shape[-1]), labels.view(-1), ignore_index=IGNORED
    )


def autocast(device: torch.device, precision: str) -> AbstractContextManager[Any]:
    """What Lightning computes a step under: bf16-mixed or 32-true."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


class PlainStep:
    """A training step of `PlainTransformer`, with torch's optimiser as it comes.

    Args:
        config: Sizes of the encoder.
        vocab_size: Number of token ids, V.
        precision: float32, or bf16 by autocast with float32 weights.
        encoder: State of biote's encoder by name, whose weights are taken.
        readout: Weight of biote's readout, (V, D).
    """

    def __init__(
        self,
        config: EncoderConfig,
        vocab_size: int,
        *,
        precision: str,
        encoder: Mapping[str, Tensor],
        readout: Tensor,
    ) -> None:
        self._precision, self._context = precision, config.context
        self.model = PlainTransformer(
            vocab_size,
            width=config.width,
            layers=config.layers,
            heads=config.heads,
            context=config.context,
        )
        self.model.take_weights(encoder, readout)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-6, betas=(0.9, 0.95))
        self.loss = self.gradient_norm = torch.tensor(math.nan)

    def __call__(self, batch: MaskedBatch, *, fused: bool = False) -> None:
        """Train on the tokens of a packed batch, in rows."""
        labels = torch.full_like(batch.ids, IGNORED)
        labels[batch.masked] = batch.targets
        documents = torch.repeat_interleave(torch.tensor(batch.lengths))
        rows = [t.view(-1, self._context) for t in (batch.ids, documents, batch.positions)]
        with autocast(torch.device("cpu"), self._precision):
            loss = plain_loss(self.model(*rows, fused=fused), labels.view(-1, self._context))
        self.optimizer.zero_grad()
        loss.backward()
        self.loss = loss.detach()
        self.gradient_norm = nn.utils.clip_grad_norm_(self.model.parameters(), CLIP_NORM)
        self.optimizer.step()


class BareProducts:
    """The matrix products of biote's step, three for every matrix, six for every group and layer.

    Args:
        config: Sizes of the encoder.
        vocab_size: Number of token ids, V.
        batch: Batch that the step is of.
        dtype: What is multiplied.
    """

    def __init__(
        self, config: EncoderConfig, vocab_size: int, batch: MaskedBatch, *, dtype: torch.dtype
    ) -> None:
        self._dtype = dtype
        width, tokens, masked = config.width, batch.n_tokens, len(batch.masked)
        self._layers = config.layers
        self._block = [
            product
            for rows, columns in ((3, 1), (1, 1), (4, 1), (1, 2))  # qkv, out, up, down
            for product in self._linear(tokens, rows * width, columns * width)
        ]
        self._block += [
            product
            for length in batch.lengths
            for product in self._attention(config.heads, length, config.head_width)
        ]
        self._readout = self._linear(masked, vocab_size, width)

    def _linear(self, tokens: int, n_outputs: int, n_inputs: int) -> list[tuple[Tensor, ...]]:
        states = self._new(tokens, n_inputs)
        weight, outputs = self._new(n_outputs, n_inputs), self._new(tokens, n_outputs)
        return [
            (states, weight.mT, outputs),
            (outputs, weight, torch.empty_like(states)),
            (outputs.mT, states, torch.empty_like(weight)),
        ]

    def _attention(self, heads: int, length: int, head_width: int) -> list[tuple[Tensor, ...]]:
        """Scores and mixture, then the gradients of values, map, queries and keys."""
        queries, keys, values, mixed, gradient = (
            self._new(heads, length, head_width) for _ in range(5)
        )
        scores, maps = self._new(heads, length, length), self._new(heads, length, length)
        return [
            (queries, keys.mT, scores),
            (maps, values, mixed),
            (maps.mT, mixed, gradient),
            (mixed, values.mT, scores),
            (maps, keys, gradient),
            (maps.mT, queries, gradient),
        ]

    def _new(self, *shape: int) -> Tensor:
        return torch.randn(shape).to(self._dtype)

    def __call__(self, batch: MaskedBatch) -> None:
        """Multiply."""
        for _ in range(self._layers):
            for left, right, out in self._block:
                torch.matmul(left, right, out=out)
        for left, right, out in self._readout:
            torch.matmul(left, right, out=out)
