"""Who computes which part of a global step, and how large parts are made."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from biote.errors import ConfigError

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Share:
    """Which part of every global step this process computes."""

    rank: int
    world: int
    accumulate: int
    """Micro-batches a step is accumulated over."""

    @property
    def parts(self) -> int:
        """Micro-batches of a global step, over all ranks."""
        return self.world * self.accumulate


@dataclass(frozen=True, kw_only=True)
class PartSize:
    """How large every micro-batch is made."""

    tokens: int
    """Tokens of a micro-batch, padding included."""

    longest_group: int
    """Most tokens of a group, one of padding included."""

    def warn_of_padding(self) -> None:
        """Say so where windows of the longest kind leave room that little may fit."""
        rest = self.tokens % self.longest_group
        if rest:
            logger.warning(
                "Micro-batches of %d tokens are no multiple of data.context (%d): where most "
                "records are longer than that, padding is up to %.0f %% of them.",
                self.tokens,
                self.longest_group,
                100 * rest / self.tokens,
            )


def part_size(tokens_per_step: int, share: Share, *, context: int) -> PartSize:
    """Cut the budget of a step into equal micro-batches.

    Args:
        tokens_per_step: Tokens of an optimiser step.
        share: Ranks and accumulated micro-batches.
        context: Most tokens of a window.

    Raises:
        ConfigError: If the parts would not be equal, or could not hold every window.
    """
    tokens, rest = divmod(tokens_per_step, share.parts)
    parts = f"{share.world} ranks x {share.accumulate} accumulated micro-batches"
    if tokens < context:
        raise ConfigError(
            f"{tokens_per_step} tokens for {parts} are {tokens} each, which cannot hold a window "
            f"of {context}",
            where="data.tokens_per_step",
            mend=f"give at least {share.parts * context} or lower data.context",
        )
    if rest:
        raise ConfigError(
            f"{tokens_per_step} tokens cannot be cut into equal parts for {parts}, which "
            "pad_to_budget needs",
            where="data.tokens_per_step",
            mend=f"give a multiple of {share.parts}, {tokens_per_step - rest} say",
        )
    return PartSize(tokens=tokens, longest_group=context)
