"""The encoder: token ids of a packed batch to states.

Legend: T packed tokens, D width, V vocabulary, L layers.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from biote.batch import PackedBatch
from biote.modules.attention import Maps, group_layout_of
from biote.modules.block import Block
from biote.modules.config import Compute, Dropout, EncoderConfig
from biote.modules.initialisation import TokenEmbedding, initialise
from biote.modules.norm import Norm


class Encoder(nn.Module):
    """Non-causal transformer encoder, pre-norm, without biases.

    It stands on torch's default device; on the meta device it has no weights until ``to_empty``
    and `reset_parameters`.

    Args:
        config: Sizes.
        vocab_size: Number of token ids, V.
        seed: Decides the initial weights.
        dropout: What is dropped in training.

    Source: paper, Methods (architecture); released checkpoints.
    """

    def __init__(
        self,
        config: EncoderConfig,
        vocab_size: int,
        *,
        seed: int = 0,
        dropout: Dropout = Dropout(),  # noqa: B008 - frozen
    ) -> None:
        super().__init__()
        self.config = config
        self.vocab_size = vocab_size
        self._dropout = dropout.embedding
        device = torch.get_default_device()
        with torch.device("meta"):  # no layer draws weights of its own: they are drawn once, below
            self.embedding = TokenEmbedding(vocab_size, config.width)
            self.blocks = nn.ModuleList(Block(config, dropout) for _ in range(config.layers))
            self.norm = Norm(config.width)
        if device.type != "meta":
            self.to_empty(device=device)
            self.reset_parameters(seed=seed)

    def reset_parameters(self, *, seed: int) -> None:
        """Give every weight its initial value, also after ``to_empty`` from the meta device.

        Args:
            seed: With a parameter's name it decides the parameter's values.
        """
        initialise(self, seed=seed)

    def configure(self, compute: Compute, device: torch.device) -> None:
        """Choose how the layers are computed.

        Args:
            compute: What is asked for.
            device: Device they are computed on.
        """
        compiled = device.type == "cuda" if compute.compile is None else compute.compile
        for block in self.blocks:
            assert isinstance(block, Block)
            block.configure(compiled=compiled, recomputes=compute.activation_checkpointing)

    def forward(self, batch: PackedBatch) -> Tensor:
        """Encode every group of a batch by itself.

        Args:
            batch: Packed batch of at least one group.

        Returns:
            States after the final norm, (T, D).
        """
        layout = group_layout_of(batch, self.config)
        states: Tensor = self.embedding(batch.ids)
        if self.training and self._dropout:
            states = functional.dropout(states, self._dropout)
        for block in self.blocks:
            states, _ = block(states, layout)
        normalised: Tensor = self.norm(states)
        return normalised

    def forward_with_maps(self, batch: PackedBatch) -> tuple[Tensor, tuple[Maps, ...]]:
        """Encode a batch and keep what every token attended to.

        Args:
            batch: Packed batch of at least one group.

        Returns:
            States after the final norm, (T, D), and for each of L layers the maps of all groups.
        """
        layout = group_layout_of(batch, self.config)
        states: Tensor = self.embedding(batch.ids)
        all_maps = []
        for block in self.blocks:
            states, maps = block(states, layout, with_maps=True)
            all_maps.append(maps)
        return self.norm(states), tuple(all_maps)

    @torch.no_grad()
    def maps_of_group(self, group: PackedBatch) -> Tensor:
        """Attention maps of one group, without states and without a gradient.

        Every layer writes into one tensor, so that no map is held twice.

        Args:
            group: Packed batch of one group of n tokens.

        Returns:
            Maps of L layers with H heads each, (L * H, n, n), float32; rows are queries and sum
            to 1.

        Raises:
            ValueError: If there is not exactly one group.
        """
        if group.n_groups != 1:
            raise ValueError(f"{group.n_groups} groups, maps are made of one at a time")
        heads, n = self.config.heads, group.n_tokens
        layout = group_layout_of(group, self.config)
        states: Tensor = self.embedding(group.ids)
        found = torch.empty(
            (len(self.blocks) * heads, n, n), dtype=torch.float32, device=states.device
        )
        for number, block in enumerate(self.blocks):
            states, maps = block(states, layout, with_maps=True)
            found[number * heads : (number + 1) * heads] = maps[0]
        return found
