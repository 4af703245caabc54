"""Do the attention maps of a frozen encoder show which residues touch a nucleic acid?

Legend: B groups, T packed tokens, n tokens of one group, L layers, H attention heads, C labels of
a residue, N labelled tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Self, cast

import torch
from torch import Tensor

from biote.batch import PackedBatch
from biote.errors import ConfigError
from biote.modules.base import EncoderWeights, summed_loss
from biote.modules.config import Compute, EncoderConfig
from biote.modules.head_optimizer import HeadOptimizer
from biote.modules.heads.probe import MapHead
from biote.modules.schedule import LinearDecay
from biote.residue_batch import ResidueBatch
from biote.tasks.residue_binary import ResidueBinaryTask

MapHeadFactory = Callable[[int, int], MapHead]


class AttentionProbeTask(ResidueBinaryTask):
    """Answer yes-or-no questions for residues from attention maps alone.

    What is trained is the head; the encoder has no gradient, drops nothing and is in no group of
    the optimiser. Maps are made of one group at a time, and those of a group are gone before
    those of the next are made: a step's gradient is summed over its groups.

    Args:
        encoder: Sizes of an encoder with random weights.
        encoder_checkpoint: Encoder folder: of pre-training, or of a fine-tuning run.
        head: Head class and its options; the task gives it the number of maps, layers times
            heads, and of outputs.
        encoder_weights: ``random`` keeps the sizes of ``encoder_checkpoint``, not its weights.
        optimizer: Learning rate and decay of the head.
        schedule: Learning rate over the run.
        n_outputs: Number of labels of a residue; the datamodule gives it.
        vocab_size: Number of token ids; the datamodule gives it.
        init_seed: Chooses the random weights.
        compute: How the layers are computed.

    Source: paper, Methods (attention probe).
    """

    def __init__(
        self,
        encoder: EncoderConfig | None = None,
        encoder_checkpoint: str | None = None,
        *,
        head: MapHeadFactory,
        encoder_weights: EncoderWeights = "pretrained",
        optimizer: HeadOptimizer = HeadOptimizer(),  # noqa: B008 - frozen
        schedule: LinearDecay = LinearDecay(),  # noqa: B008 - frozen
        n_outputs: int,
        vocab_size: int,
        init_seed: int = 0,
        compute: Compute = Compute(),  # noqa: B008 - frozen
    ) -> None:
        super().__init__(
            encoder,
            encoder_checkpoint,
            # A head of maps, an optimiser of the head: `check_head`, `build` and `groups` are
            # all that know them.
            head=cast(Any, head),
            encoder_weights=encoder_weights,
            optimizer=cast(Any, optimizer),
            schedule=cast(Any, schedule),
            n_outputs=n_outputs,
            vocab_size=vocab_size,
            init_seed=init_seed,
            compute=compute,
        )

    @property
    def n_maps(self) -> int:
        """Attention maps of a group, L * H."""
        return self.encoder_config.layers * self.encoder_config.heads

    def check_head(self) -> str:
        with torch.device("meta"):
            return type(self._map_head()).__name__

    def _map_head(self) -> MapHead:
        head: Any = self._head_factory(self.n_maps, self.n_outputs)
        if not isinstance(head, MapHead):
            raise ConfigError(
                f"{type(head).__name__} reads states, AttentionProbeTask has attention maps",
                where="model.head",
                mend="heads that fit: AttentionProbeHead",
            )
        return head

    def build(self) -> Any:
        head = self._map_head()
        self.head = cast(Any, head)
        return head

    def configure_model(self) -> None:
        """Build the model once, its encoder frozen.

        Raises:
            ConfigError: If the weights were to be divided among processes.
        """
        if self._mesh() is not None:
            raise ConfigError(
                "the encoder of a probe is not sharded",
                where="trainer.strategy",
                mend="use ddp, or one process",
            )
        super().configure_model()
        assert self.encoder is not None
        self.encoder.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Set the head to training or evaluation; the encoder is always in evaluation."""
        super().train(mode)
        if self.encoder is not None:
            self.encoder.eval()
        return self

    def logits(self, group: PackedBatch) -> Tensor:
        """Logits of the tokens of one group, (n, C).

        Its maps are held by nothing but the gradient of what is returned.

        Args:
            group: Packed batch of one group.
        """
        assert self.encoder is not None
        head: Any = self.head
        logits: Tensor = head(self.encoder.maps_of_group(group))
        return logits.float()

    def outputs(self, batch: ResidueBatch) -> Tensor:
        """Logits of every token, (T, C), without a gradient."""
        with torch.no_grad():
            return torch.cat([self.logits(group) for group in batch.groups()])

    def training_step(self, batch: ResidueBatch, batch_idx: int) -> Tensor:
        """Sum loss and gradient over the groups of a batch.

        Returns:
            The loss, whose gradient is that sum: nothing of the groups is behind it.
        """
        assert self.head is not None
        weights = list(self.head.parameters())
        gradients = [torch.zeros_like(weight) for weight in weights]
        total = torch.zeros((), device=self.device)
        end = 0
        for group in batch.groups():
            first, end = end, end + group.n_tokens
            mine = (batch.labelled_tokens >= first) & (batch.labelled_tokens < end)
            if not bool(mine.any()):
                continue
            logits = self.logits(group).index_select(0, batch.labelled_tokens[mine] - first)
            loss = self.losses(logits, batch.targets[mine]).sum()
            with torch.autocast(self.device.type, enabled=False):
                of_group = torch.autograd.grad(loss, weights)
            for gradient, share in zip(gradients, of_group, strict=True):
                gradient += share
            total += loss.detach()
            del logits, loss  # and with them the maps, before those of the next group are made
        tokens = max(1, len(batch.labelled_tokens))
        self.log("train_loss", total / tokens, prog_bar=True, batch_size=tokens)
        whole = _with_gradient(total, weights, gradients)
        return summed_loss(whole, whole=batch.step_labelled, scale=self.step_scale())


def _with_gradient(value: Tensor, weights: Sequence[Tensor], gradients: Sequence[Tensor]) -> Tensor:
    """A scalar of a given value and a given gradient.

    Args:
        value: Scalar without a gradient.
        weights: What the gradient is for.
        gradients: Gradient of each.
    """
    products = [
        (weight * gradient).sum() for weight, gradient in zip(weights, gradients, strict=True)
    ]
    linear = torch.stack(products).sum()
    return value + (linear - linear.detach())
