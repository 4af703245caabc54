from __future__ import annotations

import pytest
import torch
from torch import Size, nn

from biote.modules.initialisation import HiddenLinear, Initial, draw, initialise


def test_a_parameter_depends_on_seed_and_name_alone() -> None:
    shape, normal = Size([64, 8]), Initial(std=1.0)
    torch.manual_seed(1)
    first = draw(normal, shape, seed=3, name="a.weight")
    torch.manual_seed(2)
    assert torch.equal(draw(normal, shape, seed=3, name="a.weight"), first)
    assert not torch.equal(draw(normal, shape, seed=4, name="a.weight"), first)
    assert not torch.equal(draw(normal, shape, seed=3, name="b.weight"), first)


def test_order_of_modules_does_not_matter() -> None:
    one = nn.ModuleDict({"a": HiddenLinear(8, 8, std=1.0), "b": HiddenLinear(8, 8, std=1.0)})
    other = nn.ModuleDict({"b": HiddenLinear(8, 8, std=1.0), "a": HiddenLinear(8, 8, std=1.0)})
    initialise(one, seed=0)
    initialise(other, seed=0)
    for name, value in one.state_dict().items():
        assert torch.equal(other.state_dict()[name], value)


def test_values_are_those_of_float32_in_any_precision() -> None:
    full, half = HiddenLinear(8, 8, std=1.0), HiddenLinear(8, 8, std=1.0).bfloat16()
    initialise(full, seed=0)
    initialise(half, seed=0)
    assert torch.equal(half.weight, full.weight.bfloat16())


def test_layers_that_do_not_say_how_they_start_are_refused() -> None:
    with pytest.raises(TypeError, match="Conv1d"):
        initialise(nn.Sequential(nn.Conv1d(2, 2, 1)), seed=0)
