from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from itertools import islice
from math import nan

import polars as pl
import pytest
import torch
from torch import nn

from biote.batch import MaskedBatch
from biote.datamodules.pretraining import PretrainingDataModule
from biote.modules.mup import PretrainingOptimizer
from biote.modules.readout import Readout
from biote.tasks.coordinate_check import (
    PARAMETRISATIONS,
    is_flat,
    judged,
    mean_slopes,
    measure,
    slopes,
)
from biote.tasks.masked_lm import MaskedLMTask
from biote.tasks.parametrisation import LanguageModel, Parametrisation, sizes

MakePretraining = Callable[..., PretrainingDataModule]
WIDTHS = (32, 64, 128)
STEPS = 4
TOLERANCE = 0.25


@pytest.fixture
def batches(make_pretraining: MakePretraining) -> list[MaskedBatch]:
    return list(islice(make_pretraining().train_dataloader(), STEPS + 1))


@pytest.fixture
def vocab_size(make_pretraining: MakePretraining) -> int:
    return make_pretraining().vocab_size


def check(
    batches: list[MaskedBatch], vocab_size: int, parametrisation: Parametrisation, seeds: int = 2
) -> pl.DataFrame:
    rows = [
        asdict(size)
        for width in WIDTHS
        for seed in range(seeds)
        for size in measure(
            batches,
            parametrisation=parametrisation,
            width=width,
            layers=2,
            vocab_size=vocab_size,
            lr=0.01,
            seed=seed,
        )
    ]
    return pl.DataFrame(rows)


def test_sizes_are_flat_over_width_with_mup_and_grow_without(
    batches: list[MaskedBatch], vocab_size: int
) -> None:
    found = {name: slopes(check(batches, vocab_size, name)) for name in PARAMETRISATIONS}
    assert is_flat(found["mup"], tolerance=TOLERANCE), mean_slopes(found["mup"])
    assert not is_flat(found["standard"], tolerance=TOLERANCE)
    last = found["standard"].filter(pl.col("step") == STEPS)
    states = last.filter(pl.col("activation").str.starts_with("states"))
    assert states["slope"].min() > 2 * TOLERANCE  # type: ignore[operator]
    # Both begin with the same states: what differs is what training does to them.
    first = found["standard"].filter(pl.col("step") == 0)
    assert is_flat(first.filter(pl.col("activation") != "logits"), tolerance=TOLERANCE)


def test_flat_rates_of_hidden_matrices_break_mup(
    batches: list[MaskedBatch], vocab_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups = PretrainingOptimizer.groups

    def flat(self: PretrainingOptimizer, module: nn.Module, width: int) -> list[dict[str, object]]:
        return groups(self, module, self.base_width)

    monkeypatch.setattr(PretrainingOptimizer, "groups", flat)
    assert not is_flat(slopes(check(batches, vocab_size, "mup", seeds=1)), tolerance=TOLERANCE)


def test_a_readout_without_its_factor_breaks_mup(
    batches: list[MaskedBatch], vocab_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def plain(self: Readout, states: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(states, self.weight)

    monkeypatch.setattr(Readout, "forward", plain)
    found = slopes(check(batches, vocab_size, "mup", seeds=1))
    assert mean_slopes(found.filter(activation="logits"))["slope"].item() > 2 * TOLERANCE


def test_every_activation_is_measured_before_every_step(
    batches: list[MaskedBatch], vocab_size: int
) -> None:
    table = check(batches, vocab_size, "mup", seeds=1).filter(pl.col("width") == 32)
    names = {f"{kind} {n}" for kind in ("attention", "feed-forward", "states") for n in (1, 2)}
    assert set(table["activation"]) == names | {"logits"}
    assert table.group_by("activation").len()["len"].to_list() == [STEPS + 1] * 7
    # By hand, before the first step.
    model = LanguageModel(
        sizes(32, layers=2, context=max(max(batch.lengths) for batch in batches)),
        vocab_size,
        parametrisation="mup",
        lr=0.01,
        seed=0,
    )
    start = table.filter(step=0, activation="logits")["size"].item()
    assert start == pytest.approx(float(model.logits(batches[0]).detach().abs().mean()))
    assert table.filter(step=1, activation="logits")["size"].item() > 100 * start


def power_law(exponent: float, *, activation: str = "states 1", step: int = 1) -> pl.DataFrame:
    rows = [
        {
            "parametrisation": "mup",
            "activation": activation,
            "step": step,
            "width": width,
            "size": 3.0 * width**exponent,
        }
        for width in WIDTHS
    ]
    return pl.DataFrame(rows)


@pytest.mark.parametrize("exponent", [-0.5, 0.0, 0.1, 1.0])
def test_the_slope_is_the_exponent_of_the_width(exponent: float) -> None:
    found = slopes(power_law(exponent))
    assert found["slope"].item() == pytest.approx(exponent, abs=1e-9)
    assert is_flat(found, tolerance=0.25) == (abs(exponent) < 0.25)


def test_what_is_not_finite_is_not_flat() -> None:
    table = power_law(0.0).with_columns(
        size=pl.when(pl.col("width") == WIDTHS[-1]).then(nan).otherwise("size")
    )
    found = slopes(pl.concat([power_law(0.2, activation="states 2"), table]))
    assert mean_slopes(found)["activation"].to_list() == ["states 1", "states 2"]
    assert not is_flat(found, tolerance=1e9)


def test_only_logits_before_training_may_shrink() -> None:
    start = slopes(power_law(-0.5, activation="logits", step=0))
    assert judged(start).is_empty()
    for row in (power_law(-0.5, activation="logits"), power_law(-0.5, step=0)):
        assert not is_flat(pl.concat([start, slopes(row)]), tolerance=0.25)


def test_noise_of_single_steps_is_averaged_and_growth_is_not() -> None:
    def steps(*exponents: float) -> pl.DataFrame:
        return pl.concat([slopes(power_law(x, step=step)) for step, x in enumerate(exponents)])

    assert is_flat(steps(0.3, -0.3, 0.1), tolerance=0.25)
    assert mean_slopes(steps(0.0, 0.6, 1.2))["slope"].item() == pytest.approx(0.6)
    assert not is_flat(steps(0.0, 0.6, 1.2), tolerance=0.25)


def test_in_mup_the_model_is_that_of_training(batches: list[MaskedBatch], vocab_size: int) -> None:
    config = sizes(64, layers=1, context=48)
    model = LanguageModel(config, vocab_size, parametrisation="mup", lr=0.02, seed=3)
    settings = PretrainingOptimizer(lr=0.02)
    task = MaskedLMTask(config, optimizer=settings, vocab_size=vocab_size, init_seed=3)
    task.configure_model()
    assert torch.equal(model.logits(batches[0]), task.masked_logits(batches[0]))
    assert [(group["name"], group["lr"]) for group in model.optimizer.param_groups] == [
        (group["name"], group["lr"]) for group in task.configure_optimizers().param_groups
    ]


def test_the_parametrisations_differ_by_their_table(vocab_size: int) -> None:
    config = sizes(128, layers=1, context=48)
    models = {
        name: LanguageModel(config, vocab_size, parametrisation=name, lr=0.02, seed=0)
        for name in PARAMETRISATIONS
    }
    rates = {
        name: {group["name"]: group["lr"] for group in model.optimizer.param_groups}
        for name, model in models.items()
    }
    assert rates["mup"] == {"embedding": 0.02, "readout": 0.02, "vector": 0.02, "hidden": 0.005}
    assert set(rates["standard"].values()) == {0.02}
    spread = {name: float(model.readout.weight.detach().std()) for name, model in models.items()}
    assert spread["mup"] == pytest.approx(1e-5, rel=0.1)
    assert spread["standard"] == pytest.approx(128**-0.5, rel=0.1)
    for left, right in zip(
        models["mup"].encoder.parameters(), models["standard"].encoder.parameters(), strict=True
    ):
        assert torch.equal(left, right)


def test_standard_attention_divides_by_the_root_of_the_head_width(
    batches: list[MaskedBatch], vocab_size: int
) -> None:
    # Queries times sqrt(d) 8 / D in the standard encoder give the encoder of muP.
    config = sizes(64, layers=1, context=48)
    mup, standard = (
        LanguageModel(config, vocab_size, parametrisation=name, lr=0.1, seed=0)
        for name in PARAMETRISATIONS
    )
    with torch.no_grad():
        queries = standard.encoder.get_submodule("blocks.0.attention.qkv").get_parameter("weight")
        queries[:64] *= config.head_width**0.5 * 8 / 64
    assert torch.allclose(mup.encoder(batches[0]), standard.encoder(batches[0]), atol=1e-5)


def test_a_diverged_model_takes_no_step(batches: list[MaskedBatch], vocab_size: int) -> None:
    config = sizes(32, layers=1, context=48)
    model = LanguageModel(config, vocab_size, parametrisation="mup", lr=0.01, seed=0)
    with torch.no_grad():
        model.readout.weight.fill_(nan)
    before = [parameter.clone() for parameter in model.encoder.parameters()]
    assert not torch.isfinite(torch.tensor(model.step(batches[0])))
    assert all(torch.equal(a, b) for a, b in zip(before, model.encoder.parameters(), strict=True))


def test_steps_follow_the_schedule_and_learn(batches: list[MaskedBatch], vocab_size: int) -> None:
    config = sizes(32, layers=1, context=48)
    model = LanguageModel(config, vocab_size, parametrisation="mup", lr=0.01, seed=0)
    before = model.readout.weight.detach().clone()
    losses = [model.step(batches[0], factor=0.0)]
    assert torch.equal(before, model.readout.weight)
    losses += [model.step(batches[0], factor=0.5) for _ in range(8)]
    assert {group["lr"] for group in model.optimizer.param_groups} == {0.005}
    assert losses[-1] < losses[0] - 0.1
