from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from biote.modules import cross_entropy as module
from biote.modules.cross_entropy import cross_entropy


def losses_and_gradients(logits: Tensor, targets: Tensor, weights: Tensor) -> list[Tensor]:
    leaf = logits.clone().requires_grad_()
    losses, predicted = cross_entropy(leaf * 1, targets)
    losses.backward(weights)
    assert leaf.grad is not None
    return [losses.detach(), predicted, leaf.grad]


def expected(logits: Tensor, targets: Tensor, weights: Tensor) -> list[Tensor]:
    leaf = logits.clone().requires_grad_()
    losses = functional.cross_entropy(leaf.float(), targets, reduction="none")
    losses.backward(weights)
    assert leaf.grad is not None
    return [losses.detach(), logits.argmax(-1), leaf.grad]


@given(
    rows=st.integers(0, 40),
    classes=st.integers(1, 30),
    cached=st.sampled_from([1, 64, 2**18]),
    scale=st.sampled_from([1.0, 1e3]),
    seed=st.integers(0, 2**16),
)
def test_losses_classes_and_gradients_are_those_of_torch(
    rows: int, classes: int, cached: int, scale: float, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(rows, classes, generator=generator) * scale
    targets = torch.randint(classes, (rows,), generator=generator)
    weights = torch.rand(rows, generator=generator)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_CACHED", cached)
        found = losses_and_gradients(logits, targets, weights)
    for one, other in zip(found, expected(logits, targets, weights), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_half_precision_is_computed_in_float32() -> None:
    logits = torch.randn(50, 300).bfloat16()
    targets, weights = torch.randint(300, (50,)), torch.rand(50)
    found = losses_and_gradients(logits, targets, weights)
    assert found[0].dtype == torch.float32
    for one, other in zip(found, expected(logits, targets, weights), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-2, atol=1e-6)


def test_a_second_backward_pass_is_refused() -> None:
    leaf = torch.randn(3, 5, requires_grad=True)
    losses, _ = cross_entropy(leaf * 1, torch.tensor([0, 1, 2]))
    losses.sum().backward(retain_graph=True)
    with pytest.raises(AttributeError):
        losses.sum().backward()
