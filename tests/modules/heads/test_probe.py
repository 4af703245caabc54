from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from biote.errors import ConfigError
from biote.modules.heads import AttentionProbeHead, MapHead, heads_for
from biote.modules.heads.probe import MapPooling


def maps_of(maps: int, n: int, *, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(maps, n, n, generator=generator).softmax(-1)


@pytest.mark.parametrize("pool", ["mean", "max"])
@pytest.mark.parametrize("scaled", [False, True])
def test_four_convolutions_and_a_number_for_every_query(pool: MapPooling, scaled: bool) -> None:
    head = AttentionProbeHead(6, 3, channels=5, pool=pool, scaled=scaled)
    head.reset_parameters(seed=1)
    weights = list(head.parameters())
    assert [tuple(w.shape) for w in weights[::2]] == [
        (5, 6, 3, 3), (5, 5, 3, 3), (5, 5, 3, 3), (3, 5, 3, 3),
    ]  # fmt: skip
    maps = maps_of(6, 9)
    hidden = maps * 9 if scaled else maps
    for number in range(4):
        padded = functional.pad(hidden, (1, 1, 1, 1))
        patches = padded.unfold(1, 3, 1).unfold(2, 3, 1)  # (M, n, n, 3, 3)
        weight, bias = weights[2 * number], weights[2 * number + 1]
        hidden = torch.einsum("oikl,ixykl->oxy", weight, patches) + bias[:, None, None]
        if number < 3:
            hidden = torch.where(hidden > 0, hidden, hidden.exp() - 1)
    wanted = hidden.mean(2) if pool == "mean" else hidden.amax(2)  # over keys
    torch.testing.assert_close(head(maps), wanted.t(), rtol=1e-4, atol=1e-5)


def test_a_probe_is_no_head_of_states() -> None:
    assert issubclass(AttentionProbeHead, MapHead)
    for level in ("group", "token", "pair"):
        assert AttentionProbeHead not in heads_for(level)  # type: ignore[comparison-overlap]


def test_what_cannot_be_built_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"model.head.init_args.channels"):
        AttentionProbeHead(4, 1, channels=0)
    with pytest.raises(ConfigError, match=r"unknown pooling 'sum'; accepted: mean, max"):
        AttentionProbeHead(4, 1, pool="sum")  # type: ignore[arg-type]
