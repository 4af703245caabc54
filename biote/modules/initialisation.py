"""Random weights that depend on a seed and the parameter's name alone.

A parameter is drawn on the CPU in float32 from a generator of its own, so any process can build
any part of a model on any device, in any order, and get the values of the whole.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Size, Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor


@dataclass(frozen=True, kw_only=True)
class Initial:
    """Distribution a parameter starts from: normal, or constant where ``std`` is 0."""

    mean: float = 0.0
    std: float = 0.0


@runtime_checkable
class Initialised(Protocol):
    """A module that knows how its own parameters start."""

    def initial(self, name: str) -> Initial:
        """Distribution of the parameter of that name (without the names of submodules)."""


class HiddenLinear(nn.Linear):
    """A linear map without bias from width to width: a hidden matrix in the sense of muP.

    Args:
        in_features: Width of the input.
        out_features: Width of the output.
        std: Standard deviation of the initial weights.
    """

    def __init__(self, in_features: int, out_features: int, *, std: float) -> None:
        self._std = std
        super().__init__(in_features, out_features, bias=False)

    def initial(self, name: str) -> Initial:
        """Distribution of the weights."""
        return Initial(std=self._std)

    def reset_parameters(self) -> None:
        """Draw the weights from torch's global generator."""
        initialise(self, seed=None)


class TokenEmbedding(nn.Embedding):
    """A vector for every token id, of standard deviation 1."""

    def initial(self, name: str) -> Initial:
        """Distribution of the vectors."""
        return Initial(std=1.0)

    def reset_parameters(self) -> None:
        """Draw the vectors from torch's global generator."""
        initialise(self, seed=None)


def initialise(module: nn.Module, *, seed: int | None) -> None:
    """Give every parameter below a module its initial value.

    Parameters on the meta device hold no values and are passed over: move the module with
    ``to_empty`` first.

    Args:
        module: Module whose submodules with parameters are all `Initialised`.
        seed: With a parameter's name in ``module`` it decides the values; None draws from
            torch's global generator, as torch's own modules do.

    Raises:
        TypeError: If a submodule with parameters does not know how they start.
    """
    for prefix, owner in module.named_modules():
        for name, parameter in owner.named_parameters(recurse=False):
            if not isinstance(owner, Initialised):
                raise TypeError(f"{type(owner).__name__} {prefix!r} has no method 'initial'")
            if parameter.is_meta:
                continue
            full_name = f"{prefix}.{name}" if prefix else name
            values = draw(owner.initial(name), parameter.shape, seed=seed, name=full_name)
            assign(parameter, values)


def assign(tensor: Tensor, values: Tensor) -> None:
    """Write values into a parameter, or this process's part of them where it is sharded.

    Args:
        tensor: Parameter or buffer, sharded or not.
        values: Values of the whole, of the same shape; the same on every process.
    """
    if isinstance(tensor, DTensor):
        # No source rank: every process cuts its part out of its own copy, nothing is sent.
        values = distribute_tensor(
            values.to(tensor.dtype), tensor.device_mesh, tensor.placements, src_data_rank=None
        )
    with torch.no_grad():
        tensor.copy_(values)


def draw(initial: Initial, shape: Size, *, seed: int | None, name: str) -> Tensor:
    """Draw one parameter.

    Args:
        initial: Distribution.
        shape: Shape of the whole parameter.
        seed: See `initialise`.
        name: Name of the parameter.

    Returns:
        Values on the CPU in float32.
    """
    if initial.std == 0:
        return torch.full(shape, initial.mean, dtype=torch.float32, device="cpu")
    generator = None
    if seed is not None:
        digest = hashlib.blake2b(f"{seed}:{name}".encode(), digest_size=8).digest()
        generator = torch.Generator("cpu").manual_seed(int.from_bytes(digest, "little") >> 1)
    values = torch.empty(shape, dtype=torch.float32, device="cpu")
    return values.normal_(initial.mean, initial.std, generator=generator)
