"""Which tokens are masked: a pure function of seed, pass and window.

Legend: T packed tokens.

No generator is advanced, so every process can tell the masks of every window: that is how the
masked tokens of a whole global step are counted without communication.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from biote.datamodules.sampler import Int64s, UInt64s, mix
from biote.errors import ConfigError

_STEP = np.uint64(0xD6E8FEB86659FD93)


def masked_tokens(
    window_keys: UInt64s, lengths: Int64s, closes: npt.NDArray[np.bool_], *, rate: float
) -> npt.NDArray[np.bool_]:
    """Choose the masked tokens of windows laid end to end.

    Every token but the type tag that opens a window and the end token that closes it is chosen
    independently with the given probability.

    Args:
        window_keys: Key of every window, of seed, corpus, pass and window.
        lengths: Tokens of every window, type tag and end token included.
        closes: Whether the last token of the window is an end token.
        rate: Probability of a token to be masked.

    Returns:
        Whether each token is masked, (T,).
    """
    ends = np.cumsum(lengths)
    starts = ends - lengths
    # Position and key of every token: one hash each, no loop over windows.
    offsets = np.arange(int(ends[-1]) if len(ends) else 0, dtype=np.uint64)
    bases = mix(window_keys) - starts.astype(np.uint64) * _STEP
    hashes = mix(np.repeat(bases, lengths) + offsets * _STEP)
    chosen = hashes < np.uint64(min(int(rate * 2.0**64), 2**64 - 1))
    chosen[starts] = False
    chosen[ends[closes] - 1] = False
    return chosen


def check_mask_rate(rate: float) -> float:
    """Refuse a rate that is no probability.

    Args:
        rate: Probability of a token to be masked.

    Raises:
        ConfigError: If it is not above 0 and below 1.
    """
    if not 0 < rate < 1:
        raise ConfigError(
            f"{rate} is no share of tokens", where="data.mask_rate", mend="give 0.15, say"
        )
    return rate
