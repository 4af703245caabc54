"""What travels between data and model: packed token ids and what belongs to them.

Legend: B groups, T packed tokens, M masked tokens, C targets of a group.

A group is what may attend to itself: one window in pre-training, a protein together with its
strands in a binding task. Nothing is padded: groups lie end to end and ``cu_seqlens`` says where
each begins.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class PackedBatch:
    """Groups of tokens, end to end."""

    ids: Tensor
    """Token ids, (T,), int64."""

    cu_seqlens: Tensor
    """First token of every group and T at the end, (B + 1,), int32."""

    positions: Tensor
    """Position of every token in its group, from 0, (T,), int64."""

    molecules: Tensor
    """Molecule code of the sequence each token belongs to, tags and end tokens included, (T,)."""

    lengths: tuple[int, ...]
    """Tokens of every group, B numbers, known on the host without asking the device."""

    @property
    def n_groups(self) -> int:
        """Number of groups, B."""
        return len(self.lengths)

    @property
    def n_tokens(self) -> int:
        """Number of packed tokens, T."""
        return int(self.ids.shape[0])

    @property
    def first_tokens(self) -> Tensor:
        """Index of the first token of every group, (B,)."""
        return self.cu_seqlens[:-1].long()

    def groups(self) -> Iterator[PackedBatch]:
        """Every group as a batch of its own."""
        first = 0
        for length in self.lengths:
            tokens = slice(first, first + length)
            cu_seqlens = self.cu_seqlens.new_tensor([0, length])
            yield PackedBatch(
                ids=self.ids[tokens],
                cu_seqlens=cu_seqlens,
                positions=self.positions[tokens],
                molecules=self.molecules[tokens],
                lengths=(length,),
            )
            first += length

    def _map_tensors(self, function: Callable[[Tensor], Tensor]) -> Self:
        changes: dict[str, Any] = {
            field.name: function(value)
            for field in dataclasses.fields(self)
            if isinstance(value := getattr(self, field.name), Tensor)
        }
        changes |= {
            field.name: value._map_tensors(function)
            for field in dataclasses.fields(self)
            if isinstance(value := getattr(self, field.name), PackedBatch)
        }
        return dataclasses.replace(self, **changes)

    def to(self, device: torch.device | str, non_blocking: bool = False, **_: Any) -> Self:
        """The same batch on another device."""
        return self._map_tensors(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Self:
        """The same batch in page-locked memory, for copies that overlap with computation."""
        return self._map_tensors(Tensor.pin_memory)


@dataclass(frozen=True, kw_only=True)
class MaskedBatch(PackedBatch):
    """Windows of a pre-training mixture, some tokens of which are masked."""

    masked: Tensor
    """Indices of the masked tokens, ascending, (M,), int64."""

    targets: Tensor
    """Token ids that were masked, (M,), int64."""

    step_masked: int
    """Masked tokens of the whole global step: all ranks, all accumulated micro-batches."""

    step_tokens: int
    """Tokens of the whole global step, padding not counted."""

    progress: float
    """Share of the token budget spent before this step, 0 to 1."""

    step: int
    """Ordinal of the global step since the beginning of the run."""

    last: bool
    """Whether the token budget is spent after this step."""

    cursor: tuple[int, ...]
    """Where the run stands after this step: steps, tokens, windows of the mixture, then windows
    of every corpus, then two numbers for every window that look-ahead packing passed over."""

    padding_tokens: int = 0
    """Tokens of this micro-batch that stand for nothing."""


@dataclass(frozen=True, kw_only=True)
class LabelledBatch(PackedBatch):
    """Rows of a labelled table, each a group."""

    targets: Tensor
    """Targets in the units of the table, (B, C) float, or class indices (B,) int64."""

    row_ids: tuple[str, ...]
    """Identifier of every row, B of them."""

    step_rows: int
    """Rows of the whole global step: all ranks, all accumulated micro-batches."""

    nucleic: PackedBatch | None = None
    """Nucleic acids of the rows in groups of their own and ids of a tokenizer of their own, where
    a second encoder reads them; the rest of the batch holds the proteins then."""


def group_layout(lengths: list[int]) -> tuple[Tensor, Tensor]:
    """Lay groups end to end.

    Args:
        lengths: Tokens of every group.

    Returns:
        ``cu_seqlens`` (B + 1,) int32 and positions restarting in each group (T,) int64.

    Raises:
        ValueError: If a group is empty.
    """
    if any(length < 1 for length in lengths):
        raise ValueError("a group needs at least one token")
    sizes = torch.tensor(lengths, dtype=torch.int64)
    ends = torch.cumsum(sizes, 0)
    cu_seqlens = torch.cat([torch.zeros(1, dtype=torch.int64), ends]).to(torch.int32)
    starts = torch.repeat_interleave(ends - sizes, sizes)
    return cu_seqlens, torch.arange(int(sizes.sum())) - starts
