from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from biote.datamodules.masking import check_mask_rate, masked_tokens
from biote.datamodules.sampler import mix
from biote.errors import ConfigError

windows = st.lists(st.tuples(st.integers(2, 60), st.booleans()), min_size=1, max_size=30)


def masks(chosen: list[tuple[int, bool]], *, rate: float, first: int = 0) -> npt.NDArray[np.bool_]:
    keys = mix(np.arange(first, first + len(chosen), dtype=np.uint64))
    lengths = np.array([length for length, _ in chosen], np.int64)
    return masked_tokens(keys, lengths, np.array([ends for _, ends in chosen], np.bool_), rate=rate)


@given(chosen=windows)
def test_type_tags_and_end_tokens_are_never_masked(chosen: list[tuple[int, bool]]) -> None:
    masked = masks(chosen, rate=0.999999)
    expected = []
    for length, closes in chosen:
        expected += [False] + [True] * (length - 1 - closes) + [False] * closes
    np.testing.assert_array_equal(masked, expected)


@given(chosen=windows, cut=st.integers(0, 30))
def test_masks_of_a_window_do_not_depend_on_its_neighbours(
    chosen: list[tuple[int, bool]], cut: int
) -> None:
    cut = min(cut, len(chosen))
    whole = masks(chosen, rate=0.15)
    parts = [part for part in (masks(chosen[:cut], rate=0.15),
                               masks(chosen[cut:], rate=0.15, first=cut)) if len(part)]  # fmt: skip
    np.testing.assert_array_equal(whole, np.concatenate(parts))


def test_the_rate_is_held() -> None:
    chosen = [(300, True)] * 2_000
    masked = masks(chosen, rate=0.15)
    eligible = 298 * 2_000
    error = 4 * (0.15 * 0.85 / eligible) ** 0.5
    assert masked.sum() / eligible == pytest.approx(0.15, abs=error)
    # Every place of a window is masked about as often as any other.
    by_place = masked.reshape(2_000, 300)[:, 1:-1].mean(axis=0)
    assert by_place.min() > 0.15 - 5 * (0.15 * 0.85 / 2_000) ** 0.5
    assert by_place.max() < 0.15 + 5 * (0.15 * 0.85 / 2_000) ** 0.5


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1])
def test_a_rate_that_is_no_probability_is_refused(rate: float) -> None:
    with pytest.raises(ConfigError, match="mask_rate"):
        check_mask_rate(rate)
