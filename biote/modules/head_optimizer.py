"""The optimiser of runs that train a head alone, on states of a frozen encoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from biote.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class HeadOptimizer:
    """AdamW over all weights that are trained, in one group.

    Raises:
        ConfigError: If a value is out of range.

    Source: paper, Methods (gene-protein CLIP); the decay is torch's default, as none is given.
    """

    lr: float = 0.01
    """Peak learning rate."""

    betas: tuple[float, float] = (0.9, 0.95)
    """Decay of Adam's running means of gradient and squared gradient."""

    eps: float = 1e-8
    """Added to the root of Adam's squared gradient."""

    weight_decay: float = 0.01
    """Decoupled weight decay, relative to the learning rate."""

    def __post_init__(self) -> None:
        valid = {
            "lr": self.lr > 0,
            "eps": self.eps > 0,
            "weight_decay": self.weight_decay >= 0,
            "betas": all(0 <= beta < 1 for beta in self.betas),
        }
        for name, holds in valid.items():
            if not holds:
                raise ConfigError(
                    f"{getattr(self, name)} cannot be used",
                    where=f"model.optimizer.{name}",
                    mend="give a positive number, betas from 0 to below 1",
                )

    def groups(self, module: nn.Module, width: int) -> list[dict[str, Any]]:
        """Parameter group for AdamW.

        Args:
            module: What is trained.
            width: Width of the encoder, on which nothing depends here.
        """
        parameters = [p for p in module.parameters() if p.requires_grad]
        return [
            {
                "name": "head",
                "params": parameters,
                "lr": self.lr,
                "weight_decay": self.weight_decay,
            }
        ]
