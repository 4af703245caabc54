"""Where a pre-training run stands, as plain numbers that batches carry and checkpoints store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Cursor:
    """Where a run stands between two optimiser steps."""

    step: int
    """Optimiser steps done."""

    tokens: int
    """Tokens of those steps, padding not counted."""

    windows: int
    """Windows drawn from the mixture."""

    corpora: tuple[int, ...]
    """Windows drawn from every corpus, over all passes."""

    pending: tuple[int, ...] = ()
    """Windows among those drawn that look-ahead packing passed over, oldest first: corpus of the
    first, its ordinal among the windows drawn from that corpus, corpus of the second, and so on.
    They are named by corpus, so that they stay the same windows when the weights change."""

    @classmethod
    def start(cls, corpora: int) -> Cursor:
        """The beginning of a run over so many corpora."""
        return cls(0, 0, 0, (0,) * corpora)

    def flat(self) -> tuple[int, ...]:
        """The cursor as plain numbers, as batches carry it and checkpoints store it."""
        return (self.step, self.tokens, self.windows, *self.corpora, *self.pending)

    @classmethod
    def from_flat(cls, values: Sequence[int], *, corpora: int) -> Cursor:
        """Rebuild a cursor from `flat`.

        Args:
            values: The plain numbers.
            corpora: Number of corpora of the mixture.
        """
        step, tokens, windows, *rest = (int(value) for value in values)
        return cls(step, tokens, windows, tuple(rest[:corpora]), tuple(rest[corpora:]))
