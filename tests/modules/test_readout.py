from __future__ import annotations

import pytest
import torch

from biote.errors import ConfigError
from biote.modules.readout import Readout


@pytest.mark.parametrize(("width", "base_width"), [(64, 32), (32, 1024), (96, 32)])
@pytest.mark.parametrize("bias", [True, False])
def test_output_has_the_factor(width: int, base_width: int, bias: bool) -> None:
    readout = Readout(width, 3, base_width=base_width, bias=bias, std=1.0)
    states = torch.randn(5, width)
    expected = states @ readout.weight.T
    if readout.bias is not None:
        torch.nn.init.normal_(readout.bias)
        expected = expected + readout.bias
    expected = expected * base_width / width
    torch.testing.assert_close(readout(states), expected)


def test_the_factor_is_the_same_in_training_and_in_test() -> None:
    readout = Readout(64, 3, base_width=1024, bias=True, std=1.0)
    states = torch.randn(5, 64)
    trained = readout.train()(states)
    assert torch.equal(readout.eval()(states), trained)


def test_heads_start_at_zero_and_the_language_model_near_it() -> None:
    assert not Readout(64, 3, base_width=1024, bias=True)(torch.randn(5, 64)).any()
    weight = Readout(64, 4096, base_width=32, bias=False, std=1e-5).weight
    assert float(weight.detach().std()) == pytest.approx(1e-5, rel=0.02)


def test_sizes_must_be_positive() -> None:
    with pytest.raises(ConfigError, match="outputs 0"):
        Readout(64, 0, base_width=32, bias=False)
