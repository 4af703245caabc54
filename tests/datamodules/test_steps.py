from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from biote.datamodules.steps import StepSampler


def epoch(
    n: int, per_step: int, *, world: int, accumulate: int, epoch: int = 0, seed: int | None = 0
) -> list[list[tuple[int, ...]]]:
    """Rows of every rank's micro-batches."""
    ranks = []
    for rank in range(world):
        sampler = StepSampler(
            n,
            per_step,
            rank=rank,
            world=world,
            accumulate=accumulate,
            seed=seed,
            steps_done=lambda: epoch * -(-n // per_step),
        )
        ranks.append([step.rows for step in sampler])
        assert len(sampler) == len(ranks[-1])
    return ranks


@given(
    n=st.integers(1, 100),
    per_step=st.integers(1, 20),
    world=st.integers(1, 3),
    accumulate=st.integers(1, 3),
)
def test_steps_hold_the_same_rows_whatever_the_number_of_ranks(
    n: int, per_step: int, world: int, accumulate: int
) -> None:
    alone = epoch(n, per_step, world=1, accumulate=1)[0]
    ranks = epoch(n, per_step, world=world, accumulate=accumulate)
    for step, rows in enumerate(alone):
        micro = range(step * accumulate, (step + 1) * accumulate)
        together = [row for rank in ranks for i in micro for row in rank[i]]
        assert sorted(together) == sorted(rows)
    assert sorted(row for rows in alone for row in rows) == list(range(n))


def test_epochs_differ_and_repeat_exactly() -> None:
    first = epoch(50, 10, world=1, accumulate=1, epoch=0)
    assert first == epoch(50, 10, world=1, accumulate=1, epoch=0)
    assert first != epoch(50, 10, world=1, accumulate=1, epoch=1)


def test_without_seed_rows_keep_their_order() -> None:
    rows = epoch(7, 3, world=1, accumulate=1, seed=None)[0]
    assert rows == [(0, 1, 2), (3, 4, 5), (6,)]


def test_the_steps_done_decide_where_an_epoch_begins() -> None:
    whole = [epoch(20, 4, world=1, accumulate=1, epoch=number)[0] for number in range(4)]
    done = 2 * 5 + 3
    sampler = StepSampler(20, 4, rank=0, world=1, accumulate=1, seed=0, steps_done=lambda: done)
    assert [step.rows for step in sampler] == whole[2][3:]
    done = 3 * 5
    assert [step.rows for step in sampler] == whole[3]
