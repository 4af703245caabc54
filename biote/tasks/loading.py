"""A trained task from its checkpoint alone, for what is not a run of a trainer."""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml
from jsonargparse import ArgumentParser

from biote.errors import BioteError, CheckpointError
from biote.modules.base import EncoderModule
from biote.tasks.sharding import AnyCheckpointIO

logger = logging.getLogger(__name__)

_KEY: Final = "biote"
_SIZES: Final = ("width", "layers", "heads", "context", "rope_theta", "attention")


@dataclass(frozen=True)
class TrainedTask:
    """A task with its weights, and what of its training configuration says how to feed it."""

    task: EncoderModule
    """In evaluation mode, on the CPU."""

    data: dict[str, Any]
    """Options of the datamodule it was trained with."""

    tokenizer_fingerprint: str
    """What the tokenizer of its input has to have."""


def training_sections(checkpoint: Path) -> dict[str, Any]:
    """The configuration that the weights of a checkpoint were trained with.

    Args:
        checkpoint: File or folder that ``biote fit`` has written.

    Raises:
        CheckpointError: If it is none, or does not say.
    """
    return _sections(_content(checkpoint), checkpoint)


def training_data_state(checkpoint: Path, datamodule: str) -> dict[str, Any]:
    """What a datamodule left in a checkpoint: fingerprint of the split, order of the rows.

    Args:
        checkpoint: File or folder that ``biote fit`` has written.
        datamodule: Name of its class.

    Raises:
        CheckpointError: If it is none, or was trained on other data.
    """
    state = _content(checkpoint).get(datamodule)
    if not isinstance(state, dict):
        raise CheckpointError(
            f"it holds no state of a {datamodule}",
            where=str(checkpoint),
            mend="train it with biote fit",
        )
    return state


def load_task(checkpoint: Path) -> TrainedTask:
    """Build the task of a checkpoint and load its weights.

    The encoder's sizes are those in the checkpoint, so that an encoder folder that the training
    began with need not be there.

    Args:
        checkpoint: File or folder that ``biote fit`` has written.

    Raises:
        CheckpointError: If it is none, its model has two encoders, or nothing can be built from it.
    """
    content = _content(checkpoint)
    identity = content[_KEY]
    sections = _sections(content, checkpoint)
    model = sections["model"]
    options = dict(model["init_args"])
    if options.get("nucleic_encoder") is not None:
        raise CheckpointError(
            "two encoders read the parts of its input by themselves",
            where=str(checkpoint),
            mend="give a model of one encoder; biote test and biote specificity take both kinds",
        )
    options["encoder"] = {name: identity["encoder"][name] for name in _SIZES}
    options["encoder_checkpoint"] = None
    options["vocab_size"] = identity["encoder"]["vocab_size"]
    if "n_outputs" in identity:
        options["n_outputs"] = identity["n_outputs"]
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(EncoderModule, "model")
    wanted = {"model": {"class_path": model["class_path"], "init_args": options}}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of metrics that nobody computes here
            task = parser.instantiate(parser.parse_object(wanted)).model
        task.configure_model()
        task.load_state_dict(content["state_dict"])
    except BioteError:
        raise
    except Exception as error:
        raise CheckpointError(
            f"its model cannot be built ({' '.join(str(error).split())[:200]})",
            where=str(checkpoint),
            mend="use the version of biote it was trained with",
        ) from error
    task.eval()
    return TrainedTask(task, sections["data"]["init_args"], identity["tokenizer"])


def _content(checkpoint: Path) -> dict[str, Any]:
    mend = "give a checkpoint that biote fit has written, checkpoints/best.ckpt say"
    if not checkpoint.exists():
        raise CheckpointError(f"no checkpoint {checkpoint}", where="checkpoint", mend=mend)
    try:
        content = AnyCheckpointIO().load_checkpoint(checkpoint, map_location="cpu")
    except BioteError:
        raise
    except Exception as error:
        raise CheckpointError(
            f"cannot be read ({' '.join(str(error).split())[:200]})",
            where=str(checkpoint),
            mend=mend,
        ) from error
    if _KEY not in content or "state_dict" not in content:
        raise CheckpointError("not a checkpoint of biote", where=str(checkpoint), mend=mend)
    return content


def _sections(content: dict[str, Any], checkpoint: Path) -> dict[str, Any]:
    text = content[_KEY].get("training_config", "")
    sections = yaml.safe_load(text) if text else None
    if not isinstance(sections, dict) or not {"model", "data"} <= sections.keys():
        raise CheckpointError(
            "it does not say how it was trained",
            where=str(checkpoint),
            mend="train it with biote fit",
        )
    return sections
