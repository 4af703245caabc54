"""Training over many processes of which each holds its part of the weights."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Final, Literal

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import nn
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

from biote.errors import CheckpointError

Precision = Literal["bf16", "float32"]
_DTYPES: Final[dict[Precision, torch.dtype]] = {"bf16": torch.bfloat16, "float32": torch.float32}
NEW_SUFFIX: Final = ".new"
OLD_SUFFIX: Final = ".old"
WHOLE_SUFFIX: Final = ".whole"
_PARTS_FILE: Final = ".metadata"  # torch writes it last
_REST_FILE: Final = "meta.pt"  # what Lightning puts beside weights and optimiser states
_OPTIMIZER_PREFIX: Final = "optimizer_"


class ShardedStrategy(ModelParallelStrategy):
    """FSDP2: weights, gradients and optimiser states are divided among all processes.

    Checkpoints are folders to which every process writes its part. They are whole or not there,
    and can be opened by any number of processes, one included.

    Args:
        precision: What is computed in: bf16, or float32. Weights and optimiser states are float32
            in either, and so is the sum of gradients; leave trainer.precision at 32-true.
    """

    def __init__(self, precision: Precision = "bf16") -> None:
        super().__init__(data_parallel_size=1, tensor_parallel_size=1)
        self.param_dtype = _DTYPES[precision]

    def setup_environment(self) -> None:
        """Let every process hold a part."""
        self._data_parallel_size = self.num_nodes * self.num_processes
        super().setup_environment()

    def save_checkpoint(
        self, checkpoint: dict[str, Any], filepath: str | Path, storage_options: Any = None
    ) -> None:
        """Write a checkpoint beside the one that it replaces, then exchange them.

        Args:
            checkpoint: What Lightning gathered.
            filepath: Where the checkpoint shall stand.
            storage_options: Not for this strategy.
        """
        path = Path(self.broadcast(str(filepath)))
        new = path.with_name(path.name + NEW_SUFFIX)
        if self.is_global_zero:
            remove_checkpoint(new)
        self.barrier()
        super().save_checkpoint(checkpoint, new, storage_options)
        self.barrier()
        if self.is_global_zero:
            exchange(new, path)
        self.barrier()

    def load_checkpoint(
        self, checkpoint_path: str | Path, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a checkpoint that any number of processes wrote, one included.

        Args:
            checkpoint_path: File or folder.
            weights_only: See Lightning.
        """
        path = Path(self.broadcast(str(checkpoint_path)))
        if path.is_dir():
            content: dict[str, Any] = super().load_checkpoint(path, weights_only)
            return content
        assert self.model is not None
        checkpoint = torch.load(path, map_location="cpu", mmap=True, weights_only=weights_only)
        options = StateDictOptions(full_state_dict=True)
        set_model_state_dict(self.model, checkpoint.pop("state_dict"), options=options)
        if self.optimizers:
            states = checkpoint.pop("optimizer_states")
            for optimizer, state in zip(self.optimizers, states, strict=True):
                named = _by_name(state, optimizer, self.model)
                set_optimizer_state_dict(self.model, optimizer, named, options=options)
        rest: dict[str, Any] = checkpoint
        return rest


class AnyCheckpointIO(TorchCheckpointIO):
    """Checkpoints of one file, which also reads those that many processes wrote as a folder."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write a file, also where a folder of an earlier run stands.

        Args:
            checkpoint: What Lightning gathered.
            path: Where it shall stand.
            storage_options: See Lightning.
        """
        path = Path(path)
        if not path.is_dir():
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        new = path.with_name(path.name + NEW_SUFFIX)
        super().save_checkpoint(checkpoint, new, storage_options)
        exchange(new, path)

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a checkpoint of either kind.

        Args:
            path: File or folder.
            map_location: Device of the tensors of a file.
            weights_only: See Lightning.
        """
        if Path(path).is_dir():
            return read_sharded(Path(path))
        content: dict[str, Any] = super().load_checkpoint(path, map_location, weights_only)
        return content


def load_weights(module: nn.Module, path: Path) -> dict[str, Any]:
    """Load the weights of a checkpoint of either kind into a module, sharded or not.

    Args:
        module: Module; where it is sharded, every process has to call this.
        path: Checkpoint.

    Returns:
        What else Lightning wrote.
    """
    if path.is_dir() and any(isinstance(p, DTensor) for p in module.parameters()):
        state = {"state_dict": get_model_state_dict(module)}
        load(state, checkpoint_id=path)
        set_model_state_dict(module, state["state_dict"])
        rest: dict[str, Any] = torch.load(path / _REST_FILE, map_location="cpu", weights_only=True)
        return rest
    content: dict[str, Any]
    if path.is_dir():
        content = read_sharded(path)
    else:
        content = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    options = StateDictOptions(full_state_dict=True)
    set_model_state_dict(module, content.pop("state_dict"), options=options)
    return content


def read_sharded(path: Path) -> dict[str, Any]:
    """Read the whole of a checkpoint that was written in parts.

    Args:
        path: Its folder.

    Returns:
        What a checkpoint of one file holds.
    """
    whole = path.with_name(path.name + WHOLE_SUFFIX)
    try:
        dcp_to_torch_save(path, whole)
        # Mapped, not read: the file goes on being there for this process when its name is gone.
        parts = torch.load(whole, map_location="cpu", mmap=True, weights_only=True)
    finally:
        whole.unlink(missing_ok=True)
    rest: dict[str, Any] = torch.load(path / _REST_FILE, map_location="cpu", weights_only=True)
    optimizers = [parts[name] for name in sorted(parts) if name.startswith(_OPTIMIZER_PREFIX)]
    return rest | {
        "state_dict": parts["state_dict"],
        "optimizer_states": [_by_number(state) for state in optimizers],
    }


def _by_number(state: dict[str, Any]) -> dict[str, Any]:
    """The state of an optimiser by number of parameter, as optimisers take it, not by name."""
    names = [name for group in state["param_groups"] for name in group["params"]]
    numbers = {name: number for number, name in enumerate(names)}
    return {
        "state": {numbers[name]: values for name, values in state["state"].items()},
        "param_groups": [
            group | {"params": [numbers[name] for name in group["params"]]}
            for group in state["param_groups"]
        ],
    }


def _by_name(state: dict[str, Any], optimizer: Optimizer, model: nn.Module) -> dict[str, Any]:
    """The state of an optimiser by name of parameter.

    The numbers in it count the parameters of the optimiser's groups, which are in another order
    than those of the model.
    """
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = [[names[id(p)] for p in group["params"]] for group in optimizer.param_groups]
    stored = [group["params"] for group in state["param_groups"]]
    if [len(group) for group in stored] != [len(group) for group in groups]:
        raise CheckpointError(
            "it was trained with other groups of parameters",
            where="--ckpt_path",
            mend="use the configuration it was trained with (config.yaml beside it)",
        )
    by_number = {
        number: name
        for numbers, named in zip(stored, groups, strict=True)
        for number, name in zip(numbers, named, strict=True)
    }
    return {
        "state": {by_number[number]: values for number, values in state["state"].items()},
        "param_groups": [
            group | {"params": named}
            for group, named in zip(state["param_groups"], groups, strict=True)
        ],
    }


def is_sharded(path: Path) -> bool:
    """Whether a folder is a checkpoint that processes wrote in parts, and whole.

    Args:
        path: Folder.
    """
    return (path / _PARTS_FILE).is_file() and (path / _REST_FILE).is_file()


def exchange(new: Path, path: Path) -> None:
    """Let a checkpoint take the place of another; stopped at any point, one of them is there.

    Args:
        new: The finished one.
        path: Where it shall stand.
    """
    old = path.with_name(path.name + OLD_SUFFIX)
    remove_checkpoint(old)
    if path.exists():
        path.rename(old)
    new.rename(path)
    remove_checkpoint(old)


def recover(path: Path) -> None:
    """Put back a checkpoint that was moved aside by a process that then was killed.

    Args:
        path: Where it shall stand.
    """
    old = path.with_name(path.name + OLD_SUFFIX)
    if old.exists() and not path.exists():
        old.rename(path)


def remove_checkpoint(path: Path) -> None:
    """Remove a checkpoint of either kind, if it is there.

    Args:
        path: File or folder.
    """
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
