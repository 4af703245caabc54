"""Heads that read attention maps in the place of states.

Legend: n tokens of one group, L layers, H attention heads, M = L * H maps, C outputs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from itertools import pairwise
from typing import Final, Literal, get_args

from torch import Tensor, nn
from torch.nn import functional

from biote.errors import ConfigError
from biote.modules.heads.contact import MapConvolution
from biote.modules.initialisation import initialise

MapPooling = Literal["mean", "max"]
_CONVOLUTIONS: Final = 4


class MapHead(nn.Module, ABC):
    """Predictions for the tokens of one group from its attention maps; logits.

    Args:
        maps: Number of maps, M.
        n_outputs: Number of outputs, C.
    """

    def __init__(self, maps: int, n_outputs: int) -> None:
        super().__init__()
        self.maps = maps
        self.n_outputs = n_outputs

    @abstractmethod
    def forward(self, maps: Tensor) -> Tensor:
        """Predict.

        Args:
            maps: Maps of every layer and head of one group, (M, n, n); rows are queries.

        Returns:
            Logits of every token of the group, (n, C).
        """

    def reset_parameters(self, *, seed: int) -> None:
        """Give every weight its initial value.

        Args:
            seed: With a parameter's name it decides the parameter's values.
        """
        initialise(self, seed=seed)


class AttentionProbeHead(MapHead):
    """Four convolutions of 3 x 3 with ELU between them, then one number for every query.

    Args:
        maps: Number of maps, M.
        n_outputs: Number of outputs, C.
        channels: Channels between the convolutions.
        pool: What a query's numbers, one for every key, become: their mean or their maximum.
        scaled: Whether maps are multiplied by their number of tokens first, so that attention
            spread evenly is 1 and not 1 / n whatever the length of the group.

    Raises:
        ConfigError: If there are no channels, or the pooling is unknown.

    Source: paper, Methods (attention probe), with the mean; the authors' code takes the maximum.
    """

    def __init__(
        self,
        maps: int,
        n_outputs: int,
        *,
        channels: int = 64,
        pool: MapPooling = "mean",
        scaled: bool = False,
    ) -> None:
        super().__init__(maps, n_outputs)
        if channels < 1:
            raise ConfigError(
                f"{channels} cannot be used",
                where="model.head.init_args.channels",
                mend="give a positive number",
            )
        if pool not in get_args(MapPooling):
            raise ConfigError(
                f"unknown pooling {pool!r}",
                where="model.head.init_args.pool",
                mend=f"accepted: {', '.join(get_args(MapPooling))}",
            )
        self._pool: MapPooling = pool
        self._scaled = scaled
        sizes = [maps, *[channels] * (_CONVOLUTIONS - 1), n_outputs]
        self.convolutions = nn.ModuleList(
            MapConvolution(before, after) for before, after in pairwise(sizes)
        )

    def forward(self, maps: Tensor) -> Tensor:
        hidden = maps * maps.shape[-1] if self._scaled else maps
        for number, convolution in enumerate(self.convolutions):
            hidden = convolution(functional.elu(hidden) if number else hidden)  # (W, n, n)
        # A maximum has its gradient at one key, also where several are as large.
        pooled = hidden.mean(-1) if self._pool == "mean" else hidden.max(-1).values  # (C, n)
        return pooled.t()
