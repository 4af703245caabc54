"""The sizes of an encoder."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from biote.errors import ConfigError

AttentionBackend = Literal["auto", "varlen", "sdpa", "explicit"]


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """Sizes of an encoder; the vocabulary is the tokenizer's and given apart.

    Raises:
        ConfigError: If a size is not positive, heads do not divide the width, or the width of a
            head is odd.

    Source: paper, Methods (architecture).
    """

    width: int
    """Features of a token, D."""

    layers: int
    """Number of blocks, L."""

    heads: int
    """Attention heads of a block; they divide the width evenly."""

    context: int
    """Longest group the encoder is made for, in tokens."""

    rope_theta: float = 10_000.0
    """Base of the rotary frequencies: the slowest turns once in about 2 pi theta tokens."""

    attention: AttentionBackend = "auto"
    """How attention is computed: auto (by device and precision), varlen (CUDA, half precision),
    sdpa (any device, one group after another), explicit (keeps the whole map of a group)."""

    def __post_init__(self) -> None:
        for name in ("width", "layers", "heads", "context"):
            if getattr(self, name) < 1:
                raise _error(name, getattr(self, name), "give a positive number")
        if not (self.rope_theta > 0 and math.isfinite(self.rope_theta)):
            raise _error("rope_theta", self.rope_theta, "give a positive number")
        if self.width % self.heads:
            raise _error(
                "heads",
                self.heads,
                f"give a number that divides the width, {self.width}",
            )
        if self.head_width % 2:
            raise _error(
                "heads",
                self.heads,
                f"heads of odd width {self.head_width} have no pairs to rotate: "
                "choose width / heads even",
            )
        if self.attention not in get_args(AttentionBackend):
            raise _error(
                "attention", self.attention, f"accepted: {', '.join(get_args(AttentionBackend))}"
            )

    @property
    def head_width(self) -> int:
        """Features of one attention head."""
        return self.width // self.heads


@dataclass(frozen=True, kw_only=True)
class Dropout:
    """Shares of features that are set to 0 in training, at random.

    What is dropped is a function of the run's seed and the step, so a resumed run drops the same.

    Raises:
        ConfigError: If a share is not from 0 to below 1.
    """

    embedding: float = 0.0
    """Of the token embeddings."""

    attention: float = 0.0
    """Of the weights with which a token attends to others; not with the varlen backend."""

    residual: float = 0.0
    """Of what attention and feed-forward layers add to the states."""

    def __post_init__(self) -> None:
        for name in ("embedding", "attention", "residual"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(
                    f"{getattr(self, name)} cannot be used",
                    where=f"model.dropout.{name}",
                    mend="give a number from 0 to below 1",
                )

    @property
    def any(self) -> bool:
        """Whether anything is dropped."""
        return bool(self.embedding or self.attention or self.residual)


@dataclass(frozen=True, kw_only=True)
class Compute:
    """How the layers of an encoder are computed; no result depends on it beyond rounding."""

    compile: bool | None = None
    """Whether every block is compiled; null compiles on GPUs."""

    activation_checkpointing: bool = False
    """Whether the inner states of a block are computed again in the backward pass rather than
    kept: less memory for a third more work."""


def _error(name: str, value: object, mend: str) -> ConfigError:
    return ConfigError(f"{value} cannot be used", where=f"model.encoder.{name}", mend=mend)
