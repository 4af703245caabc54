"""Look-ahead over a mixture: nothing is lost, repeated, forgotten or kept waiting."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from biote.corpora.windows import Places
from biote.datamodules import lookahead, upcoming
from biote.datamodules.cursor import Cursor
from biote.datamodules.mixture import Mixture, Step
from biote.datamodules.sampler import MixtureTable

CONTEXT = 64
SHORT = 24
"""Look-ahead of the examples, so short that they reach far beyond it."""


@pytest.fixture
def short_sight(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (lookahead, upcoming):
        monkeypatch.setattr(module, "LOOK_AHEAD", SHORT)
    monkeypatch.setattr(upcoming, "_CHUNK", 50)


# The fixture changes constants only: all examples may share it.
examples = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


class Index:
    """Windows of given lengths, each the only one of its unit."""

    def __init__(self, lengths: npt.NDArray[np.int64]) -> None:
        self._lengths = lengths

    def __len__(self) -> int:
        return len(self._lengths)

    def locate(self, windows: npt.NDArray[np.int64]) -> Places:
        stops = self._lengths[windows] - 2
        none = np.zeros(len(windows), np.int64)
        return Places(units=windows, starts=none, stops=stops, closes=none == 0)


def mixture(lengths: list[npt.NDArray[np.int64]], weights: list[float], *, seed: int) -> Mixture:
    corpora: Any = [SimpleNamespace(folder=Path(str(i))) for i in range(len(lengths))]
    indices: Any = [Index(numbers) for numbers in lengths]
    return Mixture(corpora, indices, weights=weights, seed=seed)


def windows(step: Step) -> list[tuple[int, int]]:
    """Corpus and ordinal of every window of a step."""
    run = step.windows
    return list(zip(run.corpora.tolist(), run.ordinals.tolist(), strict=True))


def passed_over(cursor: Cursor) -> list[tuple[int, int]]:
    return list(zip(cursor.pending[::2], cursor.pending[1::2], strict=True))


def steps(source: Mixture, cursor: Cursor, *, count: int, **options: Any) -> list[Step]:
    found = source.steps(cursor, tokens=2**62, **options)
    return [next(found) for _ in range(count)]


corpora_of_lengths = st.lists(
    st.one_of(
        st.lists(st.integers(3, CONTEXT), min_size=5, max_size=60),  # varied
        st.lists(st.sampled_from([3, CONTEXT]), min_size=5, max_size=60),  # short and whole
        st.lists(st.just(CONTEXT), min_size=2, max_size=60),  # one long record
    ),
    min_size=1,
    max_size=3,
)


@pytest.mark.usefixtures("short_sight")
@given(
    lengths=corpora_of_lengths,
    weights=st.lists(st.floats(0.05, 1), min_size=3, max_size=3),
    seed=st.integers(0, 2**32),
    tokens_per_step=st.integers(6 * CONTEXT, 40 * CONTEXT).map(lambda n: n // 6 * 6),
    worlds=st.lists(st.sampled_from([None, 1, 2, 3, 6]), min_size=1, max_size=5),
)
@examples
def test_no_window_is_lost_or_repeated_whatever_the_number_of_parts(
    lengths: list[list[int]],
    weights: list[float],
    seed: int,
    tokens_per_step: int,
    worlds: list[int | None],
) -> None:
    arrays = [np.array(numbers, np.int64) for numbers in lengths]
    source = mixture(arrays, weights[: len(arrays)], seed=seed)
    cursor, used = Cursor.start(len(arrays)), set[tuple[int, int]]()
    for parts in worlds:
        for step in steps(source, cursor, count=3, tokens_per_step=tokens_per_step, parts=parts):
            here = windows(step)
            assert not used & set(here)
            assert len(here) == len(set(here))
            used |= set(here)
            if parts is None:
                assert step.bounds is None
                assert step.windows.lengths.sum() <= tokens_per_step
            else:
                assert step.bounds is not None
                ends = np.concatenate([[0], np.cumsum(step.windows.lengths)])[step.bounds]
                assert len(ends) == parts + 1
                assert (np.diff(ends) <= tokens_per_step // parts).all()
                assert (np.diff(step.bounds) >= 1).all()
            # What was drawn is used or waits, each window once.
            waiting = passed_over(step.after)
            assert len(waiting) == len(set(waiting)) < SHORT
            assert not used & set(waiting)
            drawn = {(i, n) for i, count in enumerate(step.after.corpora) for n in range(count)}
            assert used | set(waiting) == drawn
            # The shares are exact in the order.
            counts = MixtureTable(weights[: len(arrays)]).counts_before(
                np.array([step.after.windows])
            )
            assert step.after.corpora == tuple(counts[0].tolist())
            assert step.after.tokens == step.before.tokens + step.windows.lengths.sum()
            cursor = step.after
    # Ordinals of one pass are all windows of the corpus.
    for corpus, numbers in enumerate(arrays):
        ordinals = np.arange(2 * len(numbers))
        run = source.at(np.full(len(ordinals), corpus), ordinals)
        for number in range(2):
            units = run.units[number * len(numbers) : (number + 1) * len(numbers)]
            assert sorted(units.tolist()) == list(range(len(numbers)))


@pytest.mark.usefixtures("short_sight")
@given(
    lengths=corpora_of_lengths,
    seed=st.integers(0, 2**32),
    tokens_per_step=st.integers(2 * CONTEXT, 20 * CONTEXT).map(lambda n: n // 2 * 2),
    at=st.integers(0, 9),
)
@examples
def test_a_resumed_run_is_the_rest_of_the_other(
    lengths: list[list[int]], seed: int, tokens_per_step: int, at: int
) -> None:
    arrays = [np.array(numbers, np.int64) for numbers in lengths]
    source = mixture(arrays, [1.0] * len(arrays), seed=seed)
    options: dict[str, Any] = {"tokens_per_step": tokens_per_step, "parts": 2}
    whole = steps(source, Cursor.start(len(arrays)), count=12, **options)
    stored = Cursor.from_flat(whole[at].after.flat(), corpora=len(arrays))
    for one, other in zip(
        steps(source, stored, count=11 - at, **options), whole[at + 1 :], strict=True
    ):
        assert one.after == other.after
        assert windows(one) == windows(other)
        np.testing.assert_array_equal(one.windows.keys, other.windows.keys)


def test_a_resume_reads_no_more_than_where_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    source = mixture([np.random.default_rng(0).integers(3, CONTEXT, 10_000)], [1.0], seed=0)
    far = Cursor(10**9, 10**13, 10**12, (10**12,), (0, 10**12 - 7, 0, 10**12 - 2))
    read: list[int] = []
    locate = Index.locate

    def counted(self: Index, found: npt.NDArray[np.int64]) -> Places:
        read.append(len(found))
        return locate(self, found)

    monkeypatch.setattr(Index, "locate", counted)
    (step,) = steps(source, far, count=1, tokens_per_step=8 * CONTEXT, parts=2)
    assert windows(step)[:3] == [(0, 10**12 - 7), (0, 10**12 - 2), (0, 10**12)]
    assert sum(read) < 10_000


@pytest.mark.usefixtures("short_sight")
@given(seed=st.integers(0, 2**32), parts=st.sampled_from([1, 4]))
@examples
def test_the_oldest_window_goes_first_and_none_waits_longer_than_in_order(
    seed: int, parts: int
) -> None:
    lengths = np.random.default_rng(seed).integers(3, CONTEXT + 1, 500)
    source = mixture([lengths], [1.0], seed=seed)
    capacity = 2 * CONTEXT
    part = 0
    part_of: dict[int, int] = {}
    for step in steps(
        source, Cursor.start(1), count=100 // parts, tokens_per_step=capacity * parts, parts=parts
    ):
        ordinals = step.windows.ordinals
        assert step.bounds is not None
        for begin, end in zip(step.bounds[:-1].tolist(), step.bounds[1:].tolist(), strict=True):
            oldest = next(n for n in range(len(part_of) + 1) if n not in part_of)
            assert ordinals[begin] == oldest
            part_of |= dict.fromkeys(ordinals[begin:end].tolist(), part)
            part += 1
    run = source.at(np.zeros(len(part_of), np.int64), np.arange(len(part_of)))
    number, left = -1, 0
    for ordinal, length in enumerate(run.lengths.tolist()):
        if length > left:
            number, left = number + 1, capacity
        left -= length
        assert part_of.get(ordinal, part) <= number


def test_other_weights_keep_the_windows_that_were_passed_over() -> None:
    rng = np.random.default_rng(0)
    arrays = [rng.integers(3, CONTEXT, 700), rng.integers(3, CONTEXT, 300)]
    options: dict[str, Any] = {"tokens_per_step": 12 * CONTEXT, "parts": 2}
    used: list[tuple[int, int]] = []
    cursor = Cursor.start(2)
    for weights in ([0.8, 0.2], [0.1, 0.9], [0.5, 0.5]):
        source = mixture(arrays, weights, seed=1)
        for step in steps(source, cursor, count=20, **options):
            used += windows(step)
        cursor = step.after
        assert cursor.pending
    used += passed_over(cursor)
    drawn = [(i, n) for i, count in enumerate(cursor.corpora) for n in range(count)]
    assert sorted(used) == drawn


@pytest.mark.parametrize("windows_per_part", [1, 4, 32])
@pytest.mark.parametrize("kind", ["proteins", "long and short", "genomes"])
def test_padding_is_below_one_percent_of_a_realistic_mixture(
    windows_per_part: int, kind: str
) -> None:
    rng = np.random.default_rng(0)
    context, n = 2_048, 200_000
    proteins = np.minimum(context, 30 + rng.exponential(320, n).astype(np.int64))
    tails = rng.integers(20, context, n)
    arrays = {
        "proteins": [proteins],
        "long and short": [np.where(rng.random(n) < 0.5, context, tails), proteins],
        "genomes": [np.where(rng.random(n) < 0.95, context, tails)],
    }[kind]
    source = mixture(arrays, [0.8, 0.2][: len(arrays)], seed=0)
    tokens_per_step = 4 * windows_per_part * context
    found = steps(
        source, Cursor.start(len(arrays)), count=150, tokens_per_step=tokens_per_step, parts=4
    )
    padding = 1 - found[-1].after.tokens / (150 * tokens_per_step)
    assert 0 <= padding <= 0.01
