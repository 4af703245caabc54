from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim import SGD
from torch.optim.lr_scheduler import OneCycleLR

from biote.errors import ConfigError
from biote.modules.schedule import OneCycle

shares = st.floats(0, 1)


def test_it_starts_low_peaks_after_warm_up_and_ends_low() -> None:
    schedule = OneCycle(warmup=0.25, start=0.01, end=0.001)
    assert schedule.factor(0.0) == pytest.approx(0.01, abs=1e-12)
    assert schedule.factor(0.125) == pytest.approx((0.01 + 1) / 2)
    assert schedule.factor(0.25) == pytest.approx(1.0)
    assert schedule.factor(0.625) == pytest.approx((1 + 0.001) / 2)
    assert schedule.factor(1.0) == pytest.approx(0.001, abs=1e-12)


def test_the_defaults_are_those_of_the_paper() -> None:
    schedule = OneCycle()
    assert schedule.factor(0.0) == pytest.approx(1e-5, rel=1e-6)
    assert schedule.factor(0.05) == pytest.approx(1.0)
    assert schedule.factor(1.0) == pytest.approx(1e-5, rel=1e-6)


@given(warmup=shares, start=shares, end=shares, progress=st.lists(shares, max_size=20))
def test_it_rises_to_the_peak_and_falls_from_it(
    warmup: float, start: float, end: float, progress: list[float]
) -> None:
    schedule = OneCycle(warmup=warmup, start=start, end=end)
    rising = [schedule.factor(p) for p in sorted(p for p in progress if p <= warmup)]
    falling = [schedule.factor(p) for p in sorted(p for p in progress if p >= warmup)]
    assert all(one <= two + 1e-12 for one, two in itertools.pairwise(rising))
    assert all(one >= two - 1e-12 for one, two in itertools.pairwise(falling))
    assert all(start - 1e-12 <= factor <= 1 + 1e-12 for factor in rising)
    assert all(end - 1e-12 <= factor <= 1 + 1e-12 for factor in falling)


@pytest.mark.parametrize(
    ("steps", "share", "start", "end"),
    [(40, 0.25, 1e-5, 1e-5), (100, 0.05, 0.04, 1e-3), (20, 0.5, 0.2, 0.2)],
)
def test_it_is_the_one_cycle_schedule_of_torch(
    steps: int, share: float, start: float, end: float
) -> None:
    peak = 0.05
    optimizer = SGD([torch.zeros(1, requires_grad=True)], lr=peak)
    other = OneCycleLR(
        optimizer,
        max_lr=peak,
        total_steps=steps,
        pct_start=share,
        anneal_strategy="cos",
        cycle_momentum=False,
        div_factor=1 / start,
        final_div_factor=start / end,
    )
    # torch numbers its steps from 0 and has its peak at step share x steps - 1.
    ours = OneCycle(warmup=(share * steps - 1) / (steps - 1), start=start, end=end)
    for step in range(steps):
        expected = optimizer.param_groups[0]["lr"]
        assert ours.factor(step / (steps - 1)) * peak == pytest.approx(expected, abs=1e-9)
        if step < steps - 1:
            optimizer.step()
            other.step()


@pytest.mark.parametrize("name", ["warmup", "start", "end"])
@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_what_is_no_share_is_refused(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=rf"model\.schedule\.{name}: .*give a number from 0 to 1"):
        OneCycle(**{name: value})
