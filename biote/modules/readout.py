"""The linear readout, with the muP factor that stands nowhere else.

Legend: D width, C outputs.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from biote.errors import ConfigError
from biote.modules.initialisation import Initial, initialise

PRETRAINING_BASE_WIDTH: Final = 32
"""Base width of pre-training: hidden matrices and the language-model readout scale from it."""

HEAD_BASE_WIDTH: Final = 1024
"""Base width of fine-tuning heads."""


class Readout(nn.Module):
    """Linear map of states to outputs: ``(W x + b) * base_width / width``.

    The same factor serves training, test and prediction, because it is part of this module.

    Args:
        width: Width of the states, D.
        n_outputs: Number of outputs, C.
        base_width: Width at which the factor is 1.
        bias: Whether there is a bias, which starts at 0.
        std: Standard deviation of the initial weights.

    Raises:
        ConfigError: If a size is not positive.

    Source: paper, Methods (muP); released checkpoints (32 / D, and 1024 / D on heads).
    """

    def __init__(
        self, width: int, n_outputs: int, *, base_width: int, bias: bool, std: float = 0.0
    ) -> None:
        super().__init__()
        for name, value in (("width", width), ("outputs", n_outputs), ("base width", base_width)):
            if value < 1:
                raise ConfigError(f"a readout of {name} {value}", mend="give a positive number")
        self.weight = nn.Parameter(torch.empty(n_outputs, width))
        self.bias = nn.Parameter(torch.empty(n_outputs)) if bias else None
        self._factor = base_width / width
        self._std = std
        initialise(self, seed=None)

    def initial(self, name: str) -> Initial:
        """Normal weights, zero bias."""
        return Initial(std=self._std if name == "weight" else 0.0)

    def reset_parameters(self, *, seed: int) -> None:
        """Give every weight its initial value, also after ``to_empty`` from the meta device.

        Args:
            seed: With a parameter's name it decides the parameter's values.
        """
        initialise(self, seed=seed)

    def forward(self, states: Tensor) -> Tensor:
        """Read outputs.

        Args:
            states: Any shape (..., D).

        Returns:
            (..., C).
        """
        # The factor goes to the input, of which there is less than of logits.
        bias = None if self.bias is None else self.bias * self._factor
        return functional.linear(states * self._factor, self.weight, bias)
