"""Floating-point operations of a training step, and how many a device can do in a second.

Legend: D width, V vocabulary, L layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import torch
from lightning import Trainer

from biote.batch import MaskedBatch, PackedBatch
from biote.modules.config import EncoderConfig

Precision = Literal["bf16", "fp16", "tf32", "fp32", "fp64"]

_BLOCK_MATRICES: Final = 10
"""Weights of a block in units of D²: 3 for queries, keys and values, 1 for the output of attention,
4 and 2 for the feed-forward layer."""


def model_flops(
    config: EncoderConfig, lengths: Sequence[int], masked: int, vocab_size: int
) -> float:
    """Floating-point operations that forward and backward pass of a step need.

    Six for every matrix weight and token, 12 x D x L for every pair of tokens of a group, and
    6 x V x D for every masked token. What is computed twice to save memory counts once; norms,
    the embedding and heads other than the readout count nothing.

    Args:
        config: Sizes of the encoder.
        lengths: Tokens of every group, groups of padding left out.
        masked: Tokens the readout is computed at.
        vocab_size: Number of token ids, V.
    """
    width = config.width
    matrices = 6.0 * _BLOCK_MATRICES * width * width * config.layers * sum(lengths)
    attention = attention_flops(config, sum(length * length for length in lengths))
    return matrices + attention + 6.0 * vocab_size * width * masked


def attention_flops(config: EncoderConfig, pairs: int) -> float:
    """Floating-point operations of attention over pairs of tokens, forward and backward.

    Args:
        config: Sizes of the encoder.
        pairs: Pairs of tokens of one group, over all groups; each token pairs with itself, too.
    """
    return 12.0 * config.width * config.layers * pairs


def batch_flops(config: EncoderConfig, batch: PackedBatch, *, vocab_size: int) -> float:
    """Floating-point operations that forward and backward pass of a batch need.

    Args:
        config: Sizes of the encoder.
        batch: Micro-batch; its padding counts nothing.
        vocab_size: Number of token ids, V.
    """
    masked = int(batch.masked.shape[0]) if isinstance(batch, MaskedBatch) else 0
    return model_flops(config, unpadded_lengths(batch), masked, vocab_size)


def unpadded_lengths(batch: PackedBatch) -> tuple[int, ...]:
    """Tokens of every group that is not padding.

    Args:
        batch: Packed batch; padding, if any, is in groups of its own at the end.
    """
    padding = batch.padding_tokens if isinstance(batch, MaskedBatch) else 0
    groups = len(batch.lengths)
    while padding > 0:
        groups -= 1
        padding -= batch.lengths[groups]
    return batch.lengths[:groups]


@dataclass(frozen=True)
class _Peak:
    """Dense peaks of one device in TFLOP/s, products summed in float32; null where it has none."""

    half: float
    """bfloat16 and float16 alike, unless the device has float16 only."""
    tf32: float | None
    fp32: float | None
    has_bf16: bool = True


# By all the words that a device name must contain; the first that fits counts, so a name that
# is part of another stands behind it. Numbers are those of NVIDIA's data sheets and architecture
# white papers without sparsity.
_PEAKS: Final[tuple[tuple[tuple[str, ...], _Peak], ...]] = (
    (("b200",), _Peak(2250.0, 1125.0, None)),
    (("gh200",), _Peak(989.4, 494.7, 66.9)),
    (("h200", "nvl"), _Peak(835.5, 417.5, 60.0)),
    (("h200",), _Peak(989.4, 494.7, 66.9)),
    (("h100", "nvl"), _Peak(835.5, 417.5, 60.0)),
    (("h100", "pcie"), _Peak(756.0, 378.0, 51.2)),
    (("h100", "hbm3"), _Peak(989.4, 494.7, 66.9)),
    (("a100",), _Peak(312.0, 156.0, 19.5)),
    (("a40",), _Peak(149.7, 74.8, 37.4)),
    (("a30",), _Peak(165.0, 82.0, 10.3)),
    (("a10",), _Peak(125.0, 62.5, 31.2)),
    (("l40s",), _Peak(362.05, 183.0, 91.6)),
    (("l40",), _Peak(181.05, 90.5, 90.5)),
    (("l4",), _Peak(121.0, 60.0, 30.3)),
    (("rtx", "6000", "ada"), _Peak(364.2, 182.1, 91.1)),
    (("rtx", "a6000"), _Peak(154.8, 77.4, 38.7)),
    (("geforce", "rtx", "4090"), _Peak(165.2, 82.6, 82.6)),
    (("geforce", "rtx", "3090"), _Peak(71.0, 35.6, 35.6)),
    (("v100", "sxm2"), _Peak(125.0, None, 15.7, has_bf16=False)),
    (("v100s", "pcie"), _Peak(130.0, None, 16.4, has_bf16=False)),
    (("v100", "pcie"), _Peak(112.0, None, 14.0, has_bf16=False)),
    (("t4",), _Peak(65.0, None, 8.1, has_bf16=False)),
)
_OTHER_DEVICES: Final = {"ti", "super", "laptop", "mig", "d"}
"""Words of a name that make it another device than the one without them."""


def peak_flops(device_name: str, precision: Precision) -> float | None:
    """Floating-point operations a second that a device can do at most, without sparsity.

    Args:
        device_name: Name as CUDA gives it, ``NVIDIA H100 80GB HBM3`` say.
        precision: What is multiplied; sums are in float32.

    Returns:
        The figure of the vendor's data sheet, or null where the device is not known or does not
        have the precision.
    """
    words = set(device_name.lower().replace("-", " ").split())
    if words & _OTHER_DEVICES:
        return None
    for names, peak in _PEAKS:
        if words.issuperset(names):
            found = {
                "bf16": peak.half if peak.has_bf16 else None,
                "fp16": peak.half,
                "tf32": peak.tf32,
                "fp32": peak.fp32,
            }.get(precision)
            return found * 1e12 if found is not None else None
    return None


def compute_precision(trainer: Trainer) -> Precision:
    """What the matrices of a run are multiplied in.

    Args:
        trainer: Trainer of the run.
    """
    # A sharded strategy casts by itself, whatever the trainer says.
    strategy: Any = trainer.strategy
    cast_to = getattr(strategy, "param_dtype", None)
    if cast_to == torch.bfloat16 or trainer.precision.startswith("bf16"):
        return "bf16"
    if cast_to == torch.float16 or trainer.precision.startswith("16"):
        return "fp16"
    if trainer.precision.startswith("64"):
        return "fp64"
    return "fp32" if torch.get_float32_matmul_precision() == "highest" else "tf32"


def device_name(device: torch.device) -> str:
    """Name of a device as its vendor gives it, or what kind of device it is.

    Args:
        device: Device of this process.
    """
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
