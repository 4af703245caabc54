from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor

from biote.batch import PackedBatch
from biote.errors import ConfigError
from biote.modules.heads import DeltaGHead, MLPHead, ResidueHead, SequenceHead
from biote.modules.heads.base import Head
from biote.tasks.fitting import build_fitting_head, check_head, head_name


class Counted(Head):
    """A head that would take all memory there is."""

    level = "group"

    def __init__(self, width: int, n_outputs: int) -> None:
        super().__init__(width, n_outputs)
        self.weight = torch.nn.Parameter(torch.empty(2**40, width))

    def forward(self, states: Tensor, batch: PackedBatch) -> Tensor:
        return states


@pytest.mark.parametrize("head", [DeltaGHead, MLPHead, SequenceHead])
def test_a_fitting_head_is_built_with_width_and_outputs(head: type[Head]) -> None:
    built = build_fitting_head(head, 16, 1, level="group", task="T")
    assert type(built) is head
    assert (built.width, built.n_outputs) == (16, 1)


def test_options_of_a_head_are_kept() -> None:
    head = build_fitting_head(partial(MLPHead, hidden_width=5), 16, 2, level="group", task="T")
    assert isinstance(head, MLPHead)
    assert head.hidden.weight.shape == (5, 16)


def test_what_fits_is_named_on_one_line() -> None:
    with pytest.raises(ConfigError) as caught:
        check_head(ResidueHead, 16, 1, level="group", task="T")
    assert str(caught.value).startswith(
        "model.head: ResidueHead predicts per token, T needs one prediction per group; heads that "
        "fit: "
    )
    with pytest.raises(ConfigError, match=r"heads that fit: ResidueHead$"):
        check_head(SequenceHead, 16, 1, level="token", task="T")


def test_checking_allocates_nothing() -> None:
    check_head(Counted, 16, 1, level="group", task="T")
    assert head_name(Counted, 16, 1) == "Counted"
    assert torch.get_default_device().type == "cpu"
