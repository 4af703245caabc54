"""Heads that predict for pairs of a protein's tokens: which of them are in contact.

Legend: T packed tokens, B groups, n tokens of one protein without tag and end token, D width,
W width of the map.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from biote.batch import PackedBatch
from biote.errors import ConfigError
from biote.modules.heads.base import Head
from biote.modules.initialisation import Initial

_KERNEL: Final = 3
_SLOPE: Final = 0.01
STATISTICS_MOMENTUM: Final = 0.1
"""Share of one protein in the running statistics after it."""


class ContactHead(Head):
    """Base of heads on pairs of tokens.

    Every group is one protein, ``<protein>SEQUENCE<EOS>``; tag and end token take part in no
    pair. Subclasses implement `contact_map` for one protein; the maps of a batch are as ragged as
    its proteins are, and nothing is padded.

    Args:
        width: Width of the states, D.
        n_outputs: 1: whether two tokens are in contact.

    Raises:
        ConfigError: If more or less than one output is asked for.
    """

    level = "pair"

    def __init__(self, width: int, n_outputs: int) -> None:
        super().__init__(width, n_outputs)
        if n_outputs != 1:
            raise ConfigError(
                f"{type(self).__name__} predicts contacts, the data has {n_outputs} outputs",
                where="model.head",
                mend="use it with ContactMapDataModule",
            )

    @abstractmethod
    def contact_map(self, states: Tensor) -> Tensor:
        """Predict one protein's contacts.

        Args:
            states: States of its tokens, (n, D).

        Returns:
            Logits, (n, n), symmetric.
        """

    def forward(self, states: Tensor, batch: PackedBatch) -> Tensor:
        """Predict contacts.

        Args:
            states: Encoder states, (T, D).
            batch: Packed batch of B proteins the states belong to.

        Returns:
            Logits of every protein's n * n ordered pairs of tokens, row by row, the proteins end
            to end.
        """
        maps = [self.contact_map(tokens).flatten() for tokens in tokens_of_proteins(states, batch)]
        return torch.cat(maps)


def tokens_of_proteins(states: Tensor, batch: PackedBatch) -> list[Tensor]:
    """Divide states among proteins, without tag and end token, (n, D) each.

    Args:
        states: Encoder states, (T, D).
        batch: Packed batch the states belong to.
    """
    return [of[1:-1] for of in states.split(list(batch.lengths))]


class MapConvolution(nn.Conv2d):
    """A convolution over a map of pairs that keeps its size; its weights suit rectified units.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, _KERNEL, padding=_KERNEL // 2)

    def initial(self, name: str) -> Initial:
        """Distribution of weights and bias."""
        if name == "bias":
            return Initial()
        return Initial(std=math.sqrt(2 / (self.in_channels * _KERNEL * _KERNEL)))


class MapNorm(nn.BatchNorm2d):
    """Normalises every channel over the pairs of one protein; running statistics at test.

    Args:
        channels: Channels of the map.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.counts = True
        """Whether a map changes the running statistics: computed a second time, it must not."""

    def forward(self, pairs: Tensor) -> Tensor:
        return functional.batch_norm(
            pairs,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            # The variance of a single pair is not known.
            training=self.training and pairs[0, 0].numel() > 1,
            momentum=STATISTICS_MOMENTUM if self.counts else 0.0,
            eps=self.eps,
        )

    def initial(self, name: str) -> Initial:
        """Value of scale and shift."""
        return Initial(mean=1.0 if name == "weight" else 0.0)


class Projection(nn.Linear):
    """A linear map whose outputs have the variance of its inputs.

    Args:
        in_features: Width of the input.
        out_features: Width of the output.
    """

    def initial(self, name: str) -> Initial:
        """Distribution of weights and bias."""
        return Initial() if name == "bias" else Initial(std=1 / math.sqrt(self.in_features))


class OuterConvolution(MapConvolution):
    """The first convolution over a map of pairs, without building its input.

    The input of pair (i, j) is the features of i, then those of j. A convolution over it is a sum
    of convolutions along either axis, so 2 F channels of n * n values never exist.

    Args:
        features: Features of a token, F.
        out_channels: Channels of the output, W.
    """

    def __init__(self, features: int, out_channels: int) -> None:
        super().__init__(2 * features, out_channels)

    def forward(self, features: Tensor) -> Tensor:
        """Convolve the map of all pairs.

        Args:
            features: Features of the tokens, (n, F).

        Returns:
            (1, W, n, n); what `MapConvolution` makes of the (1, 2 F, n, n) map, to rounding.
        """
        n = len(features)
        of_rows, of_columns = self.weight.chunk(2, dim=1)  # (W, F, 3, 3) each
        sequence = features.t().unsqueeze(0)  # (1, F, n)
        # What the map's edge cuts off: token j + d is there for offset d = -1, 0, 1.
        places = torch.arange(n, device=features.device)
        offsets = torch.arange(_KERNEL, device=features.device) - _KERNEL // 2
        shifted = places[None, :] + offsets[:, None]  # (3, n)
        there = ((shifted >= 0) & (shifted < n)).to(features.dtype)
        pad = _KERNEL // 2
        rows = torch.stack(
            [functional.conv1d(sequence, of_rows[..., k], padding=pad)[0] for k in range(_KERNEL)]
        )  # (3, W, n)
        columns = torch.stack(
            [
                functional.conv1d(sequence, of_columns[:, :, k], padding=pad)[0]
                for k in range(_KERNEL)
            ]
        )
        there = there.to(rows.dtype)
        total = torch.einsum("kwi,kj->wij", rows, there) + torch.einsum(
            "kwj,ki->wij", columns, there
        )
        assert self.bias is not None
        return (total + self.bias[:, None, None]).unsqueeze(0)


class _ResidualBlock(nn.Module):
    """Two convolutions, each with batch norm, beside the identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = MapConvolution(width, width)
        self.first_norm = MapNorm(width)
        self.second = MapConvolution(width, width)
        self.second_norm = MapNorm(width)

    def forward(self, pairs: Tensor) -> Tensor:
        inner = functional.leaky_relu(self.first_norm(self.first(pairs)), _SLOPE)
        return functional.leaky_relu(pairs + self.second_norm(self.second(inner)), _SLOPE)


class ResNetContactHead(ContactHead):
    """Residual convolutions over the map of all pairs of tokens, one protein at a time.

    A linear map to half the channels of a pair, the concatenation of both tokens' features, a
    convolution to the width of the map, residual blocks, and a convolution to one logit, made
    symmetric. Batch norm is over the pairs of one protein.

    In training, what is between the blocks of a protein with many tokens is computed again in the
    backward pass rather than kept, and where there are several proteins, so is all of a protein's
    map: memory is that of the longest protein alone.

    Args:
        width: Width of the states, D.
        n_outputs: 1.
        features: Features of a token; a pair has twice as many.
        map_width: Channels of the residual blocks, W.
        blocks: Number of residual blocks.
        checkpoint_above: Tokens above which only the inputs of blocks are kept in training.

    Raises:
        ConfigError: If a size is not positive.

    Source: paper, Methods (TAPE contacts).
    """

    def __init__(
        self,
        width: int,
        n_outputs: int,
        *,
        features: int = 128,
        map_width: int = 64,
        blocks: int = 8,
        checkpoint_above: int = 256,
    ) -> None:
        super().__init__(width, n_outputs)
        for name, value in (("features", features), ("map_width", map_width), ("blocks", blocks)):
            if value < 1:
                raise ConfigError(
                    f"{value} cannot be used",
                    where=f"model.head.init_args.{name}",
                    mend="give a positive number",
                )
        self._checkpoint_above = checkpoint_above
        self.project = Projection(width, features)
        self.first = OuterConvolution(features, map_width)
        self.first_norm = MapNorm(map_width)
        self.blocks = nn.ModuleList(_ResidualBlock(map_width) for _ in range(blocks))
        self.last = MapConvolution(map_width, 1)

    def reset_parameters(self, *, seed: int) -> None:
        super().reset_parameters(seed=seed)
        for norm in self._norms():
            norm.reset_running_stats()

    def forward(self, states: Tensor, batch: PackedBatch) -> Tensor:
        proteins = tokens_of_proteins(states, batch)
        again = self.training and torch.is_grad_enabled() and len(proteins) > 1
        maps = []
        for tokens in proteins:
            if not len(tokens):
                maps.append(self._no_map(states))
            elif again:
                maps.append(self._checkpointed(self.contact_map, tokens))
            else:
                maps.append(self.contact_map(tokens))
        return torch.cat([pairs.flatten() for pairs in maps])

    def _no_map(self, states: Tensor) -> Tensor:
        """A map without pairs that every weight takes part in, as the other processes expect."""
        with self.frozen_statistics():
            return self.contact_map(states[:1].repeat(2, 1)).flatten()[:0]

    def contact_map(self, states: Tensor) -> Tensor:
        pairs = self.first(self.project(states))  # (1, W, n, n)
        pairs = functional.leaky_relu(self.first_norm(pairs), _SLOPE)
        again = self.training and torch.is_grad_enabled() and len(states) > self._checkpoint_above
        for block in self.blocks:
            pairs = self._checkpointed(block, pairs) if again else block(pairs)
        logits: Tensor = self.last(pairs)[0, 0]
        return (logits + logits.t()) / 2

    def _checkpointed(self, function: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
        outputs: Tensor = checkpoint(
            function, inputs, use_reentrant=False, context_fn=partial(_contexts, self)
        )
        return outputs

    def _norms(self) -> Iterator[MapNorm]:
        return (module for module in self.modules() if isinstance(module, MapNorm))

    @contextmanager
    def frozen_statistics(self) -> Iterator[None]:
        """Leave running statistics as they are: a map computed twice counts once."""
        before = [(norm, norm.counts) for norm in self._norms()]
        for norm, _ in before:
            norm.counts = False
        try:
            yield
        finally:
            for norm, counted in before:
                norm.counts = counted


def _contexts(
    head: ResNetContactHead,
) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """What surrounds the first computation, and the one in the backward pass."""
    return nullcontext(), head.frozen_statistics()
