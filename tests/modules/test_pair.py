from __future__ import annotations

import pytest
import torch

from biote.batch import PackedBatch, group_layout
from biote.errors import ConfigError
from biote.modules.config import EncoderConfig
from biote.modules.encoder import Encoder
from biote.modules.heads import MLPHead
from biote.modules.mup import FineTuningOptimizer, with_second_body
from biote.modules.pair import NucleicEncoder, side_by_side


def packed(lengths: list[int], offset: int = 0) -> PackedBatch:
    cu_seqlens, positions = group_layout(lengths)
    total = sum(lengths)
    return PackedBatch(
        ids=(torch.arange(total) + offset) % 20,
        cu_seqlens=cu_seqlens,
        positions=positions,
        molecules=torch.zeros(total, dtype=torch.uint8),
        lengths=tuple(lengths),
    )


def test_states_of_the_two_first_tokens_stand_side_by_side() -> None:
    proteins, nucleic = packed([3, 5, 2]), packed([4, 1, 6], offset=7)
    first, second = torch.randn(10, 8), torch.randn(11, 6)
    states, batch = side_by_side(first, proteins, second, nucleic, pooling="first")
    assert states.shape == (3, 14)
    for row, (a, b) in enumerate(zip((0, 3, 8), (0, 4, 5), strict=True)):
        assert torch.equal(states[row], torch.cat([first[a], second[b]]))
    # Any head of a group reads them: its first tokens are the rows themselves.
    assert batch.first_tokens.tolist() == [0, 1, 2]
    assert MLPHead(14, 2)(states, batch).shape == (3, 2)
    with pytest.raises(ValueError, match="3 proteins, 2 nucleic parts"):
        side_by_side(first, proteins, second, packed([4, 7]), pooling="first")


def test_each_body_learns_at_the_rate_of_its_own_width() -> None:
    first = Encoder(EncoderConfig(width=16, layers=1, heads=2, context=8), 20)
    second = Encoder(EncoderConfig(width=32, layers=1, heads=2, context=8), 20)
    both = torch.nn.ModuleDict({"first": first, "second": second})
    settings = FineTuningOptimizer()
    groups = with_second_body(settings.groups(both, 16), second, 16 / 32)
    rates = {group["name"]: group["lr"] for group in groups}
    assert rates["body"] == pytest.approx(1e-4 * 1024 / 16)
    assert rates["nucleic_body"] == pytest.approx(1e-4 * 1024 / 32)
    held = [id(p) for group in groups for p in group["params"]]
    assert len(held) == len(set(held))
    assert set(held) == {id(p) for p in both.parameters()}
    expected = settings.groups(second, 32)
    alone = next(group for group in expected if group["name"] == "body")
    mine = next(group for group in groups if group["name"] == "nucleic_body")
    assert {id(p) for p in mine["params"]} == {id(p) for p in alone["params"]}
    assert mine["lr"] == pytest.approx(alone["lr"])


def test_an_encoder_is_given_once() -> None:
    with pytest.raises(ConfigError, match="neither given"):
        NucleicEncoder()
