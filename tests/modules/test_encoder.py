from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor

from biote.batch import PackedBatch
from biote.modules.config import EncoderConfig
from biote.modules.encoder import Encoder
from biote.modules.readout import Readout

MakeBatch = Callable[..., PackedBatch]
LENGTHS = [1, 9, 64, 1, 20]


@pytest.fixture(scope="module")
def encoder(tiny: EncoderConfig) -> Encoder:
    """An encoder whose attention is far from uniform, so that neighbours would be noticed."""
    encoder = Encoder(tiny, 16, seed=1)
    with torch.no_grad():
        for name, parameter in encoder.named_parameters():
            if name.endswith("qkv.weight"):
                parameter.mul_(5)
    return encoder


def alone(batch: PackedBatch, group: int, make_batch: MakeBatch) -> PackedBatch:
    """One group of a batch as a batch of its own."""
    ids = batch.ids.split(list(batch.lengths))[group]
    return dataclasses.replace(make_batch([len(ids)]), ids=ids)


def relative_error(found: Tensor, exact: Tensor) -> float:
    return float(((found - exact).float().norm() / exact.float().norm()).detach())


def loss(states: Tensor) -> Tensor:
    return (states * torch.linspace(-1, 1, states.shape[-1])).tanh().sum()


def test_a_packed_group_has_the_states_it_has_alone(
    encoder: Encoder, make_batch: MakeBatch
) -> None:
    batch = make_batch(LENGTHS)
    packed = encoder(batch)
    single = torch.cat([encoder(alone(batch, i, make_batch)) for i in range(len(LENGTHS))])
    torch.testing.assert_close(packed, single, rtol=1e-5, atol=1e-5)


def test_packed_gradients_are_those_of_the_groups(encoder: Encoder, make_batch: MakeBatch) -> None:
    batch = make_batch(LENGTHS)
    names, parameters = zip(*encoder.named_parameters(), strict=True)
    packed = torch.autograd.grad(loss(encoder(batch)), parameters)
    total = sum(loss(encoder(alone(batch, i, make_batch))) for i in range(len(LENGTHS)))
    assert isinstance(total, Tensor)
    single = torch.autograd.grad(total, parameters)
    for name, one, other in zip(names, packed, single, strict=True):
        scale = max(1.0, float(other.abs().max()))
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5 * scale, msg=name)


def test_a_group_does_not_see_its_neighbours(encoder: Encoder, make_batch: MakeBatch) -> None:
    batch = make_batch([8, 8, 8])
    ids = batch.ids.clone()
    ids[8:16] = (ids[8:16] + 1) % 16
    before, after = encoder(batch), encoder(dataclasses.replace(batch, ids=ids))
    torch.testing.assert_close(before[:8], after[:8])
    torch.testing.assert_close(before[16:], after[16:])
    assert float((before[8:16] - after[8:16]).detach().abs().max()) > 0.1


def test_every_token_sees_its_whole_group(encoder: Encoder, make_batch: MakeBatch) -> None:
    batch = make_batch([6])
    ids = batch.ids.clone()
    ids[-1] = (ids[-1] + 1) % 16
    change = encoder(batch) - encoder(dataclasses.replace(batch, ids=ids))
    assert bool((change.abs().amax(-1) > 1e-3).all())


@settings(max_examples=15)
@given(data=st.data())
def test_order_of_groups_does_not_matter(
    data: st.DataObject, encoder: Encoder, make_batch: MakeBatch
) -> None:
    lengths = data.draw(st.lists(st.integers(1, 12), min_size=1, max_size=6))
    order = data.draw(st.permutations(range(len(lengths))))
    batch = make_batch(lengths)
    shuffled = dataclasses.replace(
        make_batch([lengths[i] for i in order]),
        ids=torch.cat([batch.ids.split(lengths)[i] for i in order]),
    )
    states = encoder(batch).split(lengths)
    expected = torch.cat([states[i] for i in order])
    torch.testing.assert_close(encoder(shuffled), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float16, 1e-2), (torch.bfloat16, 8e-2)]
)
def test_states_depend_on_relative_positions_only(
    encoder: Encoder, make_batch: MakeBatch, dtype: torch.dtype, tolerance: float
) -> None:
    cast = Encoder(encoder.config, 16)
    cast.load_state_dict(encoder.state_dict())
    cast = cast.to(dtype)
    batch = make_batch([12, 5])
    moved = dataclasses.replace(batch, positions=batch.positions + 11)
    states = cast(batch)

    def change(other: PackedBatch) -> float:
        return relative_error(cast(other), states)

    assert change(moved) < tolerance
    # Other distances between tokens are seen: attention does depend on positions.
    assert change(dataclasses.replace(batch, positions=batch.positions * 3)) > 3 * tolerance


@pytest.fixture
def one_process(tmp_path: Path) -> Iterator[DeviceMesh]:
    """A device mesh of this process alone."""
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1
    )
    yield init_device_mesh("cpu", (1,))
    torch.distributed.destroy_process_group()


def test_sharding_in_mixed_precision_leaves_the_rotation_whole(
    encoder: Encoder, make_batch: MakeBatch, one_process: DeviceMesh
) -> None:
    sharded = Encoder(encoder.config, 16)
    sharded.load_state_dict(encoder.state_dict())
    policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    for block in sharded.blocks:
        fully_shard(block, mesh=one_process, mp_policy=policy)
    fully_shard(sharded, mesh=one_process, mp_policy=policy)
    batch = make_batch([40, 5])
    states = sharded(batch)
    assert states.dtype == torch.bfloat16
    # Far positions: a table in bfloat16 would round their angles by whole degrees.
    moved = sharded(dataclasses.replace(batch, positions=batch.positions + 1000))
    exact = encoder(batch)
    for found in (states, moved):
        assert relative_error(found, exact) < 5e-2
    states.float().square().sum().backward()
    assert all(p.grad is not None for p in sharded.parameters())


def test_a_shard_is_built_with_the_values_of_the_whole(
    tiny: EncoderConfig, one_process: DeviceMesh
) -> None:
    with torch.device("meta"):
        encoder = Encoder(tiny, 16)
    for block in encoder.blocks:
        fully_shard(block, mesh=one_process)
    fully_shard(encoder, mesh=one_process)
    encoder.to_empty(device="cpu")
    encoder.reset_parameters(seed=3)
    whole = Encoder(tiny, 16, seed=3).state_dict()
    for name, parameter in encoder.named_parameters():
        assert isinstance(parameter, DTensor)
        assert torch.equal(parameter.full_tensor(), whole[name]), name


def test_maps_belong_to_the_same_states(encoder: Encoder, make_batch: MakeBatch) -> None:
    batch = make_batch(LENGTHS)
    states, maps = encoder.forward_with_maps(batch)
    torch.testing.assert_close(states, encoder(batch), rtol=1e-5, atol=1e-5)
    assert len(maps) == encoder.config.layers
    assert [tuple(group.shape) for group in maps[1]] == [(4, n, n) for n in LENGTHS]


def test_weights_start_as_mup_says() -> None:
    width = 128
    encoder = Encoder(EncoderConfig(width=width, layers=1, heads=2, context=8), 512)
    hidden = width**-0.5
    expected = {
        "embedding.weight": 1.0,
        "blocks.0.attention.qkv.weight": hidden,
        "blocks.0.attention.out.weight": hidden,
        "blocks.0.mlp.up.weight": hidden,
        "blocks.0.mlp.down.weight": hidden / 2**0.5,
    }
    vectors = {"alpha": 1.0, "gamma": 0.0}
    for name, value in encoder.state_dict().items():
        if name in expected:
            assert float(value.std()) == pytest.approx(expected[name], rel=0.02), name
            assert abs(float(value.mean())) < 0.02 * expected[name], name
        else:
            assert bool((value == vectors[name.rsplit(".", 1)[1]]).all()), name


def test_the_meta_device_leads_to_the_same_weights(tiny: EncoderConfig) -> None:
    with torch.device("meta"):
        encoder = Encoder(tiny, 16)
    assert all(parameter.is_meta for parameter in encoder.parameters())
    encoder.to_empty(device="cpu")
    encoder.reset_parameters(seed=3)
    direct = Encoder(tiny, 16, seed=3)
    for name, value in direct.state_dict().items():
        assert torch.equal(encoder.state_dict()[name], value), name


def test_parameter_names(tiny: EncoderConfig) -> None:
    block = [
        "norm_attention.alpha",
        "norm_attention.gamma",
        "attention.qkv.weight",
        "attention.out.weight",
        "norm_mlp.alpha",
        "norm_mlp.gamma",
        "mlp.up.weight",
        "mlp.down.weight",
    ]
    names = [f"blocks.{i}.{name}" for i in range(tiny.layers) for name in block]
    expected = {"embedding.weight", *names, "norm.alpha", "norm.gamma"}
    assert set(Encoder(tiny, 16).state_dict()) == expected


@pytest.mark.parametrize(
    ("layers", "width", "millions"),
    [(8, 1024, 88.1), (16, 2048, 679.6), (20, 2560, 1321.4), (24, 3072, 2277.8)],
)
def test_parameter_counts_of_the_four_sizes(layers: int, width: int, millions: float) -> None:
    vocabulary = 4096
    config = EncoderConfig(width=width, layers=layers, heads=layers, context=1024)
    with torch.device("meta"):
        encoder = Encoder(config, vocabulary)
        readout = Readout(width, vocabulary, base_width=32, bias=False, std=1e-5)
    assert config.head_width == 128
    counts = {name: value.numel() for name, value in encoder.named_parameters()}
    matrices = sum(n for name, n in counts.items() if name.endswith(".weight"))
    assert matrices - counts["embedding.weight"] == 10 * width**2 * layers
    assert counts["embedding.weight"] == vocabulary * width
    assert sum(counts.values()) - matrices == 2 * width * (2 * layers + 1)
    without_embedding = sum(counts.values()) - counts["embedding.weight"]
    total = without_embedding + sum(p.numel() for p in readout.parameters())
    assert total / 1e6 == pytest.approx(millions, abs=0.1)
