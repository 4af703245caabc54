from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from biote.corpora.bpe_training.reservoir import Reservoir


def filled(pieces: list[bytes], *, room: int, seed: int | str = 0) -> Reservoir:
    reservoir = Reservoir(room, seed=seed)
    for piece in pieces:
        reservoir.add(piece)
        assert reservoir.characters <= room
    return reservoir


@given(
    lengths=st.lists(st.integers(1, 40), max_size=60),
    room=st.integers(0, 300),
    seed=st.integers(0, 3),
)
def test_the_sample_is_the_head_of_a_random_order(lengths: list[int], room: int, seed: int) -> None:
    pieces = [f"{i:02d}".encode() + b"A" * (n - 1) for i, n in enumerate(lengths)]
    draw = random.Random(str(seed))
    order = [piece for _, piece in sorted((draw.random(), piece) for piece in pieces)]
    ends = np.cumsum([len(piece) for piece in order])
    fitting = order[: int((ends <= room).sum())]
    reservoir = filled(pieces, room=room, seed=seed)
    assert reservoir.pieces_seen == len(pieces)
    assert reservoir.characters_seen == sum(map(len, pieces))
    assert reservoir.characters == sum(map(len, fitting))
    assert len(reservoir) == len(fitting)
    assert reservoir.take() == fitting


def test_the_seed_decides() -> None:
    pieces = [str(i).encode() for i in range(1_000)]
    samples = [filled(pieces, room=200, seed=seed).take() for seed in ("0 a", "0 a", "0 b", "1 a")]
    assert samples[0] == samples[1]
    assert len({tuple(sample) for sample in samples}) == 3


def test_long_and_short_pieces_are_as_likely() -> None:
    """A fifth of the pieces are long: so is a fifth of every sample, wherever they stand."""
    pieces = [b"L" * 400 if i < 200 else b"s" * 10 for i in range(1_000)]
    long = total = 0
    for seed in range(100):
        sample = filled(pieces, room=20_000, seed=seed).take()
        long += sum(piece.startswith(b"L") for piece in sample)
        total += len(sample)
    assert long / total == pytest.approx(0.2, abs=0.01)


def test_what_is_held_does_not_grow_with_what_is_offered() -> None:
    reservoir = Reservoir(10_000, seed=0)
    for _ in range(200_000):
        reservoir.add(bytes(100))
        assert len(reservoir) <= 100
    assert reservoir.characters_seen == 20_000_000
    assert len(reservoir.take()) == 100
    assert len(reservoir) == 0
