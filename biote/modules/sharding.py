"""Fully sharded modules: every process holds its part of every weight (FSDP2).

A model is built on the meta device, sharded, and only then given values, so that no process ever
holds the whole of it. The values are those of the unsharded model.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import (
    MixedPrecisionPolicy,
    fully_shard,
    register_fsdp_forward_method,
)
from torch.distributed.tensor import DTensor

from biote.modules.encoder import Encoder

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh


def shard(
    encoder: Encoder,
    added: Iterable[nn.Module],
    *,
    mesh: DeviceMesh,
    param_dtype: torch.dtype,
    device: torch.device,
) -> None:
    """Shard an encoder, block by block, and what a task adds to it; then make room for the weights.

    Weights and their gradients stay in float32 and are computed with in ``param_dtype``; gradients
    are summed over processes in float32.

    Args:
        encoder: Encoder on the meta device.
        added: Readout or head on the meta device.
        mesh: The processes, in one dimension.
        param_dtype: Precision of the computation.
        device: Device of this process.
    """
    parts = list(added)
    policy = MixedPrecisionPolicy(param_dtype=param_dtype, reduce_dtype=torch.float32)
    for block in encoder.blocks:
        fully_shard(block, mesh=mesh, mp_policy=policy)
    # Embedding and last norm belong to the encoder itself; both are needed in every pass.
    for module in (encoder, *parts):
        if any(True for _ in module.parameters()):
            fully_shard(module, mesh=mesh, mp_policy=policy)
    register_fsdp_forward_method(encoder, "forward_with_maps")
    for module in (encoder, *parts):
        module.to_empty(device=device)


def whole_tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield the entries of a module's state by name, one by one, gathered where they are sharded.

    Every process has to go through all of them.

    Args:
        module: Module, sharded or not.
    """
    for name, tensor in sorted(module.state_dict().items()):
        yield name, tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
