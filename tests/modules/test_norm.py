from __future__ import annotations

import pytest
import torch
from torch import Tensor

from biote.modules.norm import Norm


def literal(states: Tensor, norm: Norm) -> Tensor:
    """The formula of the released checkpoints, in double precision."""
    states = states.double()
    mean = states.mean(-1, keepdim=True)
    deviation = states.std(-1, keepdim=True, correction=1)
    return norm.alpha.double() * (states - mean) / (deviation + 1e-5) + norm.gamma.double()


@pytest.mark.parametrize("width", [4, 16, 1024])
@pytest.mark.parametrize("scale", [2.0, 50.0])
def test_equals_the_formula(width: int, scale: float) -> None:
    torch.manual_seed(width)
    norm = Norm(width)
    torch.nn.init.normal_(norm.alpha)
    torch.nn.init.normal_(norm.gamma)
    states = torch.randn(32, width)
    # Exactly this deviation: at 1 the two epsilons differ by 1e-5 themselves.
    states = scale * states / states.std(-1, keepdim=True) + 1.0
    expected = literal(states, norm)
    error = (norm(states).double() - expected).norm() / expected.norm()
    assert error < 1e-5


def test_the_biased_deviation_would_be_noticed() -> None:
    states = 2 * torch.randn(32, 16)
    biased = torch.nn.functional.layer_norm(states, (16,)).double()
    expected = literal(states, Norm(16))
    assert (biased - expected).norm() / expected.norm() > 1e-2


def test_constant_states_give_the_shift() -> None:
    norm = Norm(8)
    torch.nn.init.constant_(norm.gamma, 0.5)
    assert torch.equal(norm(torch.full((3, 8), 2.0)), torch.full((3, 8), 0.5))
