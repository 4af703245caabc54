"""What a head is, and which heads predict for what.

Legend: T packed tokens, B groups, D width, C outputs.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from typing import ClassVar, Literal

from torch import Tensor, nn

from biote.batch import PackedBatch
from biote.modules.initialisation import initialise
from biote.modules.pooling import Pooling

Level = Literal["group", "token", "pair"]


class Head(nn.Module, ABC):
    """Predictions from encoder states; standardised values or logits, never units.

    Subclasses are built with the encoder's width and the number of outputs, followed by
    hyper-parameters of their own.

    Args:
        width: Width of the states, D.
        n_outputs: Number of outputs, C.
    """

    level: ClassVar[Level]
    """What one prediction is for: a group, a token, or a pair of tokens of one group."""

    pooling: Pooling = "first"
    """State of a group that a head for groups reads; of two encoders, that of either."""

    def __init__(self, width: int, n_outputs: int) -> None:
        super().__init__()
        self.width = width
        self.n_outputs = n_outputs

    @abstractmethod
    def forward(self, states: Tensor, batch: PackedBatch) -> Tensor:
        """Predict.

        Args:
            states: Encoder states, (T, D).
            batch: Packed batch of B groups the states belong to.

        Returns:
            (B, C) where ``level`` is group, (T, C) where it is token; where it is pair, what
            `biote.modules.heads.contact.ContactHead` says.
        """

    def reset_parameters(self, *, seed: int) -> None:
        """Give every weight its initial value, also after ``to_empty`` from the meta device.

        Args:
            seed: With a parameter's name it decides the parameter's values.
        """
        initialise(self, seed=seed)


def heads_for(level: Level) -> list[type[Head]]:
    """Head classes that predict for a level, sorted by name.

    Args:
        level: What the predictions are for.
    """
    found: set[type[Head]] = set()
    waiting = Head.__subclasses__()
    while waiting:
        kind = waiting.pop()
        waiting.extend(kind.__subclasses__())
        if not inspect.isabstract(kind) and kind.level == level:
            found.add(kind)
    return sorted(found, key=lambda kind: kind.__name__)
