from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from biote.batch import PackedBatch
from biote.errors import ConfigError
from biote.modules.heads.delta_g import DeltaGHead

MakeBatch = Callable[..., PackedBatch]


def test_starts_at_zero(make_batch: MakeBatch) -> None:
    batch = make_batch([4, 6])
    predictions = DeltaGHead(16, 1)(torch.randn(10, 16), batch)
    assert torch.equal(predictions, torch.zeros(2, 1))


def test_reads_the_first_token_of_the_group(make_batch: MakeBatch) -> None:
    head, batch, states = DeltaGHead(16, 1), make_batch([4, 6]), torch.randn(10, 16)
    torch.nn.init.normal_(head.readout.weight)
    torch.nn.init.constant_(head.get_parameter("readout.bias"), 0.25)
    expected = (states[[0, 4]] @ head.readout.weight.T + 0.25) * 1024 / 16
    torch.testing.assert_close(head(states, batch), expected)


@pytest.mark.parametrize("n_outputs", [0, 2])
def test_an_energy_is_one_number(n_outputs: int) -> None:
    with pytest.raises(ConfigError, match=r"model.head: .* use SequenceHead"):
        DeltaGHead(16, n_outputs)
