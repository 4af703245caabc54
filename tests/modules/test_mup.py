from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor import DTensor
from torch.nn import functional

from biote.batch import PackedBatch
from biote.errors import ConfigError
from biote.modules.config import EncoderConfig
from biote.modules.encoder import Encoder
from biote.modules.heads import DeltaGHead, Head, MLPHead, ResidueHead, SequenceHead
from biote.modules.mup import FineTuningOptimizer, PretrainingOptimizer, parameter_roles
from biote.modules.readout import Readout
from biote.modules.sharding import shard

MakeBatch = Callable[..., PackedBatch]
WIDTH = 64


def language_model(width: int = WIDTH) -> nn.ModuleDict:
    config = EncoderConfig(width=width, layers=2, heads=4, context=32)
    readout = Readout(width, 16, base_width=32, bias=False, std=1e-5)
    return nn.ModuleDict({"encoder": Encoder(config, 16), "readout": readout})


def fine_tuned(head: type[Head]) -> nn.ModuleDict:
    config = EncoderConfig(width=WIDTH, layers=2, heads=4, context=32)
    return nn.ModuleDict({"encoder": Encoder(config, 16), "head": head(WIDTH, 1)})


def settings_by_name(
    module: nn.Module, groups: list[dict[str, Any]]
) -> dict[str, tuple[str, float, float]]:
    """Group, learning rate and decay by parameter name; no parameter may occur twice."""
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    found: dict[str, tuple[str, float, float]] = {}
    for group in groups:
        for parameter in group["params"]:
            assert names[id(parameter)] not in found
            found[names[id(parameter)]] = (group["name"], group["lr"], group["weight_decay"])
    return found


def test_roles() -> None:
    model = nn.ModuleDict(
        {**dict(language_model().items()), "head": MLPHead(WIDTH, 1), "bias": nn.Linear(8, 8)}
    )
    roles = parameter_roles(model)
    assert set(roles) == {name for name, _ in model.named_parameters()}
    assert roles["encoder.embedding.weight"] == "embedding"
    assert roles["encoder.blocks.1.attention.qkv.weight"] == "hidden"
    assert roles["encoder.blocks.1.mlp.down.weight"] == "hidden"
    assert roles["encoder.blocks.0.norm_mlp.alpha"] == "vector"
    assert roles["encoder.norm.gamma"] == "vector"
    assert roles["readout.weight"] == "readout"
    assert roles["bias.bias"] == "vector"
    assert {role for name, role in roles.items() if name.startswith("head.")} == {"head"}
    assert set(parameter_roles(MLPHead(WIDTH, 1)).values()) == {"head"}


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (
            "code",
            {
                "embedding": (0.05, 0.0),
                "readout": (0.05, 0.01),
                "vector": (0.05, 0.0),
                "hidden": (0.025, 0.02),
            },
        ),
        (
            "paper",
            {
                "embedding": (0.05, 0.01),
                "readout": (0.05, 0.01),
                "vector": (0.025, 0.01),
                "hidden": (0.025, 0.01),
            },
        ),
    ],
)
def test_pretraining_groups(rule: Any, expected: dict[str, tuple[float, float]]) -> None:
    model = language_model()
    found = settings_by_name(model, PretrainingOptimizer(rule=rule).groups(model, WIDTH))
    roles = parameter_roles(model)
    assert set(found) == set(roles)
    for name, (group, *values) in found.items():
        assert group == roles[name]
        assert tuple(values) == pytest.approx(expected[group]), name


@pytest.mark.parametrize("head", [DeltaGHead, SequenceHead, MLPHead, ResidueHead])
def test_fine_tuning_groups(head: type[Head]) -> None:
    model = fine_tuned(head)
    found = settings_by_name(model, FineTuningOptimizer().groups(model, WIDTH))
    assert set(found) == {name for name, _ in model.named_parameters()}
    rates = {"head": 1e-2, "embedding": 1e-3, "body": 1e-4 * 1024 / WIDTH}
    for name, (group, lr, decay) in found.items():
        expected = "head" if name.startswith("head.") else "body"
        if name == "encoder.embedding.weight":
            expected = "embedding"
        assert group == expected, name
        assert lr == pytest.approx(rates[group]), name
        assert decay == 0.01, name


def test_frozen_parameters_are_left_out() -> None:
    model = fine_tuned(DeltaGHead)
    model["encoder"].requires_grad_(False)
    groups = FineTuningOptimizer().groups(model, WIDTH)
    assert [group["name"] for group in groups] == ["head"]
    assert set(settings_by_name(model, groups)) == {"head.readout.weight", "head.readout.bias"}


FREEZABLE = ("embedding", "blocks.0", "blocks.1.attention", "blocks.1.norm_mlp", "norm")


@given(
    frozen=st.sets(st.sampled_from(FREEZABLE)), head=st.sampled_from([None, DeltaGHead, MLPHead])
)
def test_freezing_parts_leaves_the_groups_of_the_others_as_they_are(
    frozen: set[str], head: type[Head] | None
) -> None:
    settings: PretrainingOptimizer | FineTuningOptimizer
    if head is None:
        model, settings = language_model(), PretrainingOptimizer()
    else:
        model, settings = fine_tuned(head), FineTuningOptimizer()
    whole = settings_by_name(model, settings.groups(model, WIDTH))
    for part in frozen:
        model.get_submodule(f"encoder.{part}").requires_grad_(False)
    groups = settings.groups(model, WIDTH)
    found = settings_by_name(model, groups)
    trainable = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert found == {name: whole[name] for name in trainable}
    assert all(group["params"] for group in groups)


def test_frozen_parts_stay_and_the_others_learn() -> None:
    model = fine_tuned(DeltaGHead)
    nn.init.ones_(model.get_parameter("head.readout.weight"))  # with zeros nothing else learns
    for part in ("embedding", "blocks.0"):
        model.get_submodule(f"encoder.{part}").requires_grad_(False)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    groups = FineTuningOptimizer(weight_decay=0.5).groups(model, WIDTH)
    optimizer = torch.optim.AdamW(groups)
    ids = torch.arange(12)
    batch = PackedBatch(
        ids=ids,
        cu_seqlens=torch.tensor([0, 12], dtype=torch.int32),
        positions=ids,
        molecules=torch.zeros_like(ids),
        lengths=(12,),
    )
    model["head"](model["encoder"](batch), batch).sum().backward()
    optimizer.step()
    for name, parameter in model.named_parameters():
        stays = name.startswith(("encoder.embedding", "encoder.blocks.0"))
        assert torch.equal(parameter, before[name]) == stays, name


def test_a_model_frozen_as_a_whole_is_refused() -> None:
    model = fine_tuned(DeltaGHead).requires_grad_(False)
    with pytest.raises(ConfigError, match="every parameter is frozen"):
        FineTuningOptimizer().groups(model, WIDTH)


@pytest.fixture
def one_process(tmp_path: Path) -> Iterator[DeviceMesh]:
    """A device mesh of this process alone."""
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1
    )
    yield init_device_mesh("cpu", (1,))
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("head", [None, DeltaGHead, MLPHead])
def test_sharded_weights_have_the_groups_of_whole_ones(
    head: type[Head] | None, one_process: DeviceMesh
) -> None:
    """Also with a part frozen before and one frozen after it was sharded."""
    settings: PretrainingOptimizer | FineTuningOptimizer = FineTuningOptimizer()
    if head is None:
        settings = PretrainingOptimizer()

    def build() -> nn.ModuleDict:
        model = language_model() if head is None else fine_tuned(head)
        model.get_submodule("encoder.blocks.0").requires_grad_(False)
        return model

    whole = build()
    with torch.device("meta"):
        sharded = build()
    encoder = sharded["encoder"]
    assert isinstance(encoder, Encoder)
    shard(
        encoder,
        [part for name, part in sharded.items() if name != "encoder"],
        mesh=one_process,
        param_dtype=torch.float32,
        device=torch.device("cpu"),
    )
    for model in (whole, sharded):
        model.get_submodule("encoder.norm").requires_grad_(False)
    assert all(isinstance(parameter, DTensor) for parameter in sharded.parameters())
    assert parameter_roles(sharded) == parameter_roles(whole)
    found = settings_by_name(sharded, settings.groups(sharded, WIDTH))
    assert found == settings_by_name(whole, settings.groups(whole, WIDTH))
    assert not any(name.startswith(("encoder.blocks.0", "encoder.norm")) for name in found)
    assert any(name.startswith("encoder.blocks.1") for name in found)


def test_a_tied_parameter_has_two_roles() -> None:
    model = language_model()
    model["readout"].register_parameter("weight", model.get_parameter("encoder.embedding.weight"))
    with pytest.raises(ConfigError, match=r"is embedding as .* and readout as readout.weight"):
        PretrainingOptimizer().groups(model, WIDTH)


def test_a_layer_without_role_is_refused_by_name() -> None:
    model = language_model()
    model["stem"] = nn.Conv1d(4, 4, 3)
    with pytest.raises(ConfigError, match=r"stem.weight \(Conv1d"):
        PretrainingOptimizer().groups(model, WIDTH)


@pytest.mark.parametrize(
    ("module", "optimizer"),
    [
        (fine_tuned(DeltaGHead), PretrainingOptimizer()),
        (language_model(), FineTuningOptimizer()),
    ],
)
def test_an_optimizer_of_the_other_kind_is_refused(
    module: nn.Module, optimizer: PretrainingOptimizer | FineTuningOptimizer
) -> None:
    with pytest.raises(ConfigError, match="has no learning rate for"):
        optimizer.groups(module, WIDTH)


@pytest.mark.parametrize(
    ("kind", "change", "key"),
    [
        (PretrainingOptimizer, {"lr": 0.0}, "lr"),
        (PretrainingOptimizer, {"rule": "mine"}, "rule"),
        (PretrainingOptimizer, {"weight_decay": -1.0}, "weight_decay"),
        (FineTuningOptimizer, {"lr_body": float("nan")}, "lr_body"),
        (FineTuningOptimizer, {"betas": (0.9, 1.0)}, "betas"),
        (FineTuningOptimizer, {"base_width": 0}, "base_width"),
    ],
)
def test_impossible_values_are_refused_by_key(
    kind: Callable[..., object], change: dict[str, Any], key: str
) -> None:
    with pytest.raises(ConfigError, match=f"model.optimizer.{key}:"):
        kind(**change)


def activation_sizes(
    width: int, batch: PackedBatch, *, parametrisation: str
) -> tuple[float, float]:
    """Mean size of residual states and of logits after five steps of Adam."""
    torch.manual_seed(0)
    model = language_model(width)
    groups = PretrainingOptimizer(lr=0.01).groups(model, width)
    if parametrisation == "standard":
        for group in groups:
            group["lr"] = 0.01
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.95))
    residual: list[Tensor] = []
    last = model.get_submodule("encoder.blocks.1")
    last.register_forward_hook(lambda *call: residual.append(call[2][0]))
    targets = batch.ids.roll(1)
    logits = torch.empty(0)
    for _ in range(6):
        logits = model["readout"](model["encoder"](batch))
        optimizer.zero_grad()
        functional.cross_entropy(logits, targets).backward()
        optimizer.step()
    return float(residual[-1].detach().abs().mean()), float(logits.detach().abs().mean())


def test_activations_keep_their_size_over_width_with_mup_alone(make_batch: MakeBatch) -> None:
    batch = make_batch([32] * 4)
    widths = (32, 64, 128, 256)

    def spread(parametrisation: str) -> list[float]:
        sizes = [activation_sizes(w, batch, parametrisation=parametrisation) for w in widths]
        return [max(values) / min(values) for values in zip(*sizes, strict=True)]

    residual, logits = spread("mup")
    assert residual < 1.5
    assert logits < 2.0
    assert spread("standard")[0] > 3.0
