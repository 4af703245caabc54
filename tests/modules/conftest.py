from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch

from biote.batch import PackedBatch, group_layout
from biote.modules.config import EncoderConfig

VOCABULARY = 16


@pytest.fixture(scope="session")
def tiny() -> EncoderConfig:
    """Two layers whose head count is not 8: there 8 / D would equal 1 / head width."""
    return EncoderConfig(width=16, layers=2, heads=4, context=64)


@pytest.fixture(scope="session")
def make_batch() -> Callable[..., PackedBatch]:
    """Groups of the given lengths with random ids below 16."""

    def build(lengths: Sequence[int], *, seed: int = 0) -> PackedBatch:
        cu_seqlens, positions = group_layout(list(lengths))
        generator = torch.Generator().manual_seed(seed)
        ids = torch.randint(VOCABULARY, (sum(lengths),), generator=generator)
        return PackedBatch(
            ids=ids,
            cu_seqlens=cu_seqlens,
            positions=positions,
            molecules=torch.zeros_like(ids),
            lengths=tuple(lengths),
        )

    return build
