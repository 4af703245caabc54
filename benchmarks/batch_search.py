"""The search for the micro-batch that trains fastest on a device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

WORTHWHILE = 1.01
"""Twice the tokens that are not faster by this factor end the search."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One combination that was tried."""

    tokens: int
    """Tokens of a micro-batch."""

    checkpointing: bool
    """Whether activations are computed again in the backward pass."""

    tokens_per_s: float | None = None
    """Tokens of a second, padding left out; null where it does not fit."""

    model_flops_per_s: float = 0.0
    """Model operations of a second."""

    peak_bytes: int | None = None
    """Most memory that tensors took; null on a device that does not count it."""

    @property
    def speed(self) -> float:
        """Tokens of a second, 0 where it does not fit."""
        return self.tokens_per_s or 0.0

    def __str__(self) -> str:
        how = "with" if self.checkpointing else "without"
        what = f"{self.tokens:,} tokens {how} activation checkpointing"
        if self.tokens_per_s is None:
            return f"{what} do not fit"
        memory = f", {self.peak_bytes / 1e9:.1f} GB" if self.peak_bytes is not None else ""
        return (
            f"{what}: {self.tokens_per_s:,.0f} tokens/s, "
            f"{self.model_flops_per_s / 1e12:.3g} model TFLOP/s{memory}"
        )


def search(
    attempt: Callable[[int, bool], Trial], *, first: int, most: int
) -> tuple[Trial | None, list[Trial]]:
    """Double the tokens of a micro-batch until they do not fit or bring nothing more.

    Args:
        attempt: Tries so many tokens with or without activation checkpointing.
        first: Fewest tokens, a multiple of 4 contexts.
        most: Most tokens.

    Returns:
        The fastest that fits, null if none does, and all that were tried.
    """
    trials: list[Trial] = []
    for checkpointing in (False, True):
        tokens, best = first, 0.0
        while tokens <= most:
            trial = attempt(tokens, checkpointing)
            trials.append(trial)
            if trial.tokens_per_s is None:
                if tokens > first:
                    trials.append(attempt(tokens * 3 // 4, checkpointing))
                break
            if trial.speed < best * WORTHWHILE:
                break
            tokens, best = 2 * tokens, trial.speed
    fastest = max(trials, key=lambda trial: trial.speed, default=None)
    return (fastest if fastest is not None and fastest.speed else None), trials
