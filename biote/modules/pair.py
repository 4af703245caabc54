"""Two encoders side by side: proteins go to one, nucleic acids to the other.

Legend: B groups, D1 and D2 widths of the two encoders.

The control for a multi-omic encoder: a state of the protein and one of the nucleic part, one
behind the other, are what a head reads. Each is that of the first token or the mean over the
tokens, as the head asks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from biote.batch import PackedBatch
from biote.errors import CheckpointError, ConfigError
from biote.modules.config import EncoderConfig
from biote.modules.pooling import Pooling, pool
from biote.modules.weights import load_encoder_config


@dataclass(frozen=True, kw_only=True)
class NucleicEncoder:
    """The encoder of nucleic acids beside one of proteins; with it, no token sees the other half.

    Raises:
        ConfigError: If not exactly one of ``encoder`` and ``encoder_checkpoint`` is given.
    """

    encoder: EncoderConfig | None = None
    """Sizes of an encoder that starts from random weights."""

    encoder_checkpoint: str | None = None
    """Encoder folder to start from; the datamodule's nucleic_tokenizer must be its tokenizer."""

    def __post_init__(self) -> None:
        if (self.encoder is None) == (self.encoder_checkpoint is None):
            raise ConfigError(
                "both given" if self.encoder is not None else "neither given",
                where="model.nucleic_encoder: encoder and encoder_checkpoint",
                mend="give the sizes of a new encoder or the folder of one, not both",
            )


class NucleicHalf:
    """What the encoder of nucleic acids is, before it is built.

    Args:
        settings: Sizes or folder.

    Raises:
        CheckpointError: If the folder cannot be read.
    """

    def __init__(self, settings: NucleicEncoder) -> None:
        self.folder: Path | None = None
        self._fingerprint: str | None = None
        self.vocab_size: int | None = None
        """Number of token ids; of an encoder with random weights, the data tell."""
        self.extra: Mapping[str, Any] = {}
        """What its folder tells of its weights."""
        if settings.encoder_checkpoint is not None:
            self.folder = Path(settings.encoder_checkpoint)
            stored = load_encoder_config(self.folder)
            self.config = stored.encoder
            self._fingerprint = stored.tokenizer_fingerprint
            self.vocab_size = stored.vocab_size
            self.extra = stored.extra
        else:
            assert settings.encoder is not None
            self.config = settings.encoder

    def fit(self, *, fingerprint: str, vocab_size: int, context: int) -> None:
        """Refuse data that are not made for this encoder.

        Args:
            fingerprint: Fingerprint of the tokenizer that nucleic acids are given in.
            vocab_size: Its number of ids.
            context: Most tokens of a group.

        Raises:
            CheckpointError: If it is not the tokenizer of the encoder.
            ConfigError: If groups can be longer than the encoder's context.
        """
        if self._fingerprint not in (None, fingerprint):
            raise CheckpointError(
                "nucleic acids are tokenised by another tokenizer than the encoder was trained "
                "with",
                where=str(self.folder),
                mend="use the encoder folder as data.nucleic_tokenizer",
            )
        if context > self.config.context:
            raise ConfigError(
                f"groups of {context} tokens, the nucleic encoder takes {self.config.context}",
                where="data.context",
                mend="lower it",
            )
        self.vocab_size = vocab_size


def side_by_side(
    proteins: Tensor,
    batch: PackedBatch,
    nucleic: Tensor,
    nucleic_batch: PackedBatch,
    *,
    pooling: Pooling,
) -> tuple[Tensor, PackedBatch]:
    """One state for every row from the two encoders, as a batch of groups of one token each.

    Args:
        proteins: States of the first encoder, (T1, D1).
        batch: Its batch of B groups.
        nucleic: States of the second, (T2, D2).
        nucleic_batch: Its batch of B groups, in the same order.
        pooling: State of a group: its first token, or the mean over its tokens.

    Returns:
        States (B, D1 + D2), and the batch of B groups that a head takes them for.

    Raises:
        ValueError: If the batches differ in their number of groups.
    """
    if batch.n_groups != nucleic_batch.n_groups:
        raise ValueError(f"{batch.n_groups} proteins, {nucleic_batch.n_groups} nucleic parts")
    states = torch.cat(
        [pool(proteins, batch, pooling), pool(nucleic, nucleic_batch, pooling)], dim=1
    )  # (B, D1 + D2)
    groups = batch.n_groups
    first = batch.first_tokens
    return states, PackedBatch(
        ids=batch.ids.index_select(0, first),
        cu_seqlens=torch.arange(groups + 1, dtype=torch.int32, device=first.device),
        positions=torch.zeros_like(first),
        molecules=batch.molecules.index_select(0, first),
        lengths=(1,) * groups,
    )
