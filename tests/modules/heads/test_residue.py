from __future__ import annotations

from collections.abc import Callable

import torch

from biote.batch import PackedBatch
from biote.modules.heads.residue import ResidueHead


def test_every_token_is_read_by_itself(make_batch: Callable[..., PackedBatch]) -> None:
    head, batch, states = ResidueHead(16, 3), make_batch([4, 6]), torch.randn(10, 16)
    assert torch.equal(head(states, batch), torch.zeros(10, 3))
    torch.nn.init.normal_(head.readout.weight)
    expected = states @ head.readout.weight.T * 1024 / 16
    torch.testing.assert_close(head(states, batch), expected)
