"""Learning-rate schedules as pure functions of progress.

A schedule without state cannot be restored wrongly: a resumed run is where its progress is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from biote.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class OneCycle:
    """Cosine warm-up to the peak, cosine decay to the end.

    Source: paper, Methods (pre-training): start and end at 1e-5 of the peak.
    """

    warmup: float = 0.05
    """Share of the run until the peak: 0.05 in fine-tuning, 0.004 (1 of 250 billion tokens) in
    the paper's pre-training."""

    start: float = 1e-5
    """First learning rate, relative to the peak."""

    end: float = 1e-5
    """Last learning rate, relative to the peak."""

    def __post_init__(self) -> None:
        for name in ("warmup", "start", "end"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ConfigError(
                    f"{value}", where=f"model.schedule.{name}", mend="give a number from 0 to 1"
                )

    def factor(self, progress: float) -> float:
        """Learning rate relative to the peak.

        Args:
            progress: Share of the run that is done, 0 to 1.
        """
        if progress < self.warmup:
            return _cosine(self.start, 1.0, progress / self.warmup)
        decay = (progress - self.warmup) / (1 - self.warmup) if self.warmup < 1 else 0.0
        return _cosine(1.0, self.end, min(1.0, decay))


@dataclass(frozen=True, kw_only=True)
class LinearDecay:
    """From the peak in a straight line to 0.

    Source: paper, Methods (gene-protein CLIP, attention probe).
    """

    def factor(self, progress: float) -> float:
        """Learning rate relative to the peak.

        Args:
            progress: Share of the run that is done, 0 to 1.
        """
        return max(0.0, 1.0 - progress)


def _cosine(first: float, last: float, share: float) -> float:
    return last + (first - last) * (1 + math.cos(math.pi * share)) / 2
