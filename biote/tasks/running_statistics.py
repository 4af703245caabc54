"""Running statistics of batch norm that do not depend on the number of processes.

Every map of a step moves the statistics r by a share m of its own s: r becomes (1 - m) r + m s.
Each process begins a step with the same r and applies the maps it has; as every process's maps act
on r by a factor and a sum, what they make of r one after the other follows from what each has made
of it alone. No process needs the maps of another.
"""

from __future__ import annotations

import torch
from torch import Tensor, distributed, nn

from biote.modules.heads.contact import STATISTICS_MOMENTUM, MapNorm


def statistics_of(head: nn.Module) -> Tensor | None:
    """A copy of the running statistics, end to end; none where there is one process.

    Args:
        head: Head before the forward pass of a micro-batch.
    """
    shared = distributed.is_available() and distributed.is_initialized()
    buffers = _statistics(head)
    if not buffers or not shared or distributed.get_world_size() == 1:
        return None
    return torch.cat(buffers)


def join_statistics(head: nn.Module, before: Tensor | None, *, proteins: int) -> None:
    """Make running statistics those of one process with the proteins of all.

    The backward pass must be over: it reads the statistics of the forward pass.

    Args:
        head: Head after a micro-batch.
        before: What `statistics_of` gave before it.
        proteins: Proteins of this process in the micro-batch.
    """
    if before is None:
        return
    buffers = _statistics(head)
    factor = before.new_tensor([(1 - STATISTICS_MOMENTUM) ** proteins])
    mine = torch.cat([factor, *buffers])
    everyone = [torch.empty_like(mine) for _ in range(distributed.get_world_size())]
    distributed.all_gather(everyone, mine)
    together = before
    for of_rank in everyone:
        kept, after = of_rank[0], of_rank[1:]
        together = kept * (together - before) + after
    with torch.no_grad():
        for buffer, values in zip(buffers, together.split([len(b) for b in buffers]), strict=True):
            buffer.copy_(values)


def _statistics(head: nn.Module) -> list[Tensor]:
    return [
        buffer
        for module in head.modules()
        if isinstance(module, MapNorm)
        for buffer in (module.running_mean, module.running_var)
        if buffer is not None
    ]
