from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from biote.baselines.kmers import kmer_frequencies


def _slowly(sequence: str, alphabet: str, k_max: int) -> npt.NDArray[np.float64]:
    """Frequencies by looking at every window once per possible k-mer."""
    values = []
    for k in range(1, k_max + 1):
        windows = [sequence[i : i + k] for i in range(len(sequence) - k + 1)]
        windows = [window for window in windows if all(x in alphabet for x in window)]
        for letters in itertools.product(alphabet, repeat=k):
            values.append(windows.count("".join(letters)) / max(len(windows), 1))
    return np.array(values)


@given(st.lists(st.text(alphabet="ACGTNX", max_size=25), max_size=6), st.integers(1, 3))
def test_frequencies_equal_a_slow_count(sequences: list[str], k_max: int) -> None:
    frequencies = kmer_frequencies([*sequences, *sequences], "ACGT", k_max)
    assert frequencies.dtype == np.float32
    assert frequencies.shape == (2 * len(sequences), sum(4**k for k in range(1, k_max + 1)))
    for row, sequence in zip(frequencies, [*sequences, *sequences], strict=True):
        np.testing.assert_allclose(row, _slowly(sequence, "ACGT", k_max), atol=1e-6)


def test_the_order_is_that_of_the_alphabet() -> None:
    (row,) = kmer_frequencies(["TTA"], "TA", 2)
    assert row.tolist() == pytest.approx([2 / 3, 1 / 3, 0.5, 0.5, 0.0, 0.0])
