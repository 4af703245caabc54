"""Which heads fit which task, asked before anything is launched."""

from __future__ import annotations

from collections.abc import Callable

import torch

from biote.errors import ConfigError
from biote.modules.heads.base import Head, Level, heads_for

HeadFactory = Callable[[int, int], Head]


def build_fitting_head(
    factory: HeadFactory, width: int, n_outputs: int, *, level: Level, task: str
) -> Head:
    """Build a head, or say which ones fit.

    Args:
        factory: Called with width and number of outputs.
        width: Encoder width.
        n_outputs: Number of outputs the data needs.
        level: What the task predicts for: groups, tokens or pairs of tokens.
        task: Name of the task for the error message.

    Raises:
        ConfigError: If the head predicts for something else, or refuses the number of outputs.
    """
    head = factory(width, n_outputs)
    fitting = ", ".join(sorted(kind.__name__ for kind in heads_for(level)))
    if not isinstance(head, Head):
        raise ConfigError(
            f"{type(head).__name__} reads no states, {task} has them",
            where="model.head",
            mend=f"heads that fit: {fitting}",
        )
    if head.level != level:
        raise ConfigError(
            f"{type(head).__name__} predicts per {head.level}, {task} needs one prediction per "
            f"{level}",
            where="model.head",
            mend=f"heads that fit: {fitting}",
        )
    return head


def check_head(
    factory: HeadFactory, width: int, n_outputs: int, *, level: Level, task: str
) -> None:
    """Refuse an unsuitable head without allocating its weights; see `build_fitting_head`."""
    with torch.device("meta"):
        build_fitting_head(factory, width, n_outputs, level=level, task=task)


def head_name(factory: HeadFactory, width: int, n_outputs: int) -> str:
    """Class name of the head a factory builds."""
    with torch.device("meta"):
        return type(factory(width, n_outputs)).__name__
