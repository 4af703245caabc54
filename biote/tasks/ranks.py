"""What the ranks of a run tell each other."""

from __future__ import annotations

from typing import TypeVar

import torch
from lightning import Trainer

T = TypeVar("T")


def of_all_ranks(trainer: Trainer, value: T) -> list[T]:
    """Gather a small object of every rank; all of them have to ask.

    Args:
        trainer: Trainer of the run.
        value: That of this rank, picklable.

    Returns:
        One of every rank, in their order, on every rank.
    """
    if trainer.world_size == 1:
        return [value]
    found: list[T | None] = [None] * trainer.world_size
    torch.distributed.all_gather_object(found, value)
    return [one for one in found if one is not None]
