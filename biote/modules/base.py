"""The shared encoder LightningModule that every task is made of."""

from __future__ import annotations

import hashlib
import logging
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import torch
from lightning import LightningModule
from torch import Tensor
from torch.optim import AdamW

from biote.batch import LabelledBatch, PackedBatch
from biote.errors import CheckpointError, ConfigError
from biote.modules.config import Compute, Dropout, EncoderConfig
from biote.modules.encoder import Encoder
from biote.modules.head_optimizer import HeadOptimizer
from biote.modules.heads.base import Head
from biote.modules.mup import FineTuningOptimizer, PretrainingOptimizer, with_second_body
from biote.modules.pair import NucleicEncoder, NucleicHalf, side_by_side
from biote.modules.pooling import Pooling
from biote.modules.readout import Readout
from biote.modules.schedule import LinearDecay, OneCycle
from biote.modules.sharding import shard
from biote.modules.weights import load_encoder_config, load_encoder_weights
from biote.version import __version__

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

logger = logging.getLogger(__name__)

PRETRAINED: Final = "pre-trained encoder"
RANDOM: Final = "random encoder"
"""What stands for a model in results, by the weights its encoder started from."""

EncoderWeights = Literal["pretrained", "random"]
_CHECKPOINT_KEY = "biote"


class EncoderModule(LightningModule):
    """An encoder with its optimiser, schedule and weights; tasks add head, loss and metrics.

    Args:
        encoder: Sizes of an encoder that starts from random weights; null where
            ``encoder_checkpoint`` gives them.
        encoder_checkpoint: Encoder folder to start from.
        encoder_weights: ``random`` keeps the sizes and tokenizer of ``encoder_checkpoint`` but
            not its weights: the control that shows what pre-training is worth.
        optimizer: Learning rates and decay of every parameter group.
        schedule: Learning rate over the run.
        vocab_size: Number of token ids; the datamodule gives it.
        init_seed: Chooses the random weights.
        dropout: What is dropped in training.
        compute: How the layers are computed.
        nucleic_encoder: Second encoder that reads the nucleic acids by itself.

    Raises:
        ConfigError: If not exactly one of ``encoder`` and ``encoder_checkpoint`` is given.
        CheckpointError: If the folder cannot be read or has another vocabulary.
    """

    monitored: tuple[str, ...]
    """Validation metrics that a checkpoint can be chosen by."""

    def __init__(
        self,
        encoder: EncoderConfig | None,
        encoder_checkpoint: str | None,
        *,
        encoder_weights: EncoderWeights,
        optimizer: PretrainingOptimizer | FineTuningOptimizer | HeadOptimizer,
        schedule: OneCycle | LinearDecay,
        vocab_size: int,
        init_seed: int,
        dropout: Dropout = Dropout(),  # noqa: B008 - frozen
        compute: Compute = Compute(),  # noqa: B008 - frozen
        nucleic_encoder: NucleicEncoder | None = None,
    ) -> None:
        super().__init__()
        if (encoder is None) == (encoder_checkpoint is None):
            raise ConfigError(
                "both given" if encoder is not None else "neither given",
                where="model.encoder and model.encoder_checkpoint",
                mend="give the sizes of a new encoder or the folder of one, not both",
            )
        self._folder = Path(encoder_checkpoint) if encoder_checkpoint is not None else None
        if self._folder is not None:
            stored = load_encoder_config(self._folder)
            if stored.vocab_size != vocab_size:
                raise CheckpointError(
                    f"it has {stored.vocab_size} token ids, the data has {vocab_size}",
                    where=str(self._folder),
                    mend="use the encoder folder as data.tokenizer",
                )
            self.encoder_config = stored.encoder
            self._stored_tokenizer: str | None = stored.tokenizer_fingerprint
            self._stored_extra = stored.extra
        else:
            assert encoder is not None
            self.encoder_config = encoder
            self._stored_tokenizer = None
            self._stored_extra = {}
        self.vocab_size = vocab_size
        self.encoder_weights: EncoderWeights = encoder_weights
        self.optimizer_settings = optimizer
        self.schedule = schedule
        self.init_seed = init_seed
        self.dropout = dropout
        self.compute = compute
        self.encoder: Encoder | None = None
        self.nucleic_half = NucleicHalf(nucleic_encoder) if nucleic_encoder is not None else None
        if self.nucleic_half and (self.nucleic_half.folder is None) != (self._folder is None):
            raise ConfigError(
                "one of the two encoders has a folder, the other has none",
                where="model.nucleic_encoder",
                mend="give sizes for both, or folders for both",
            )
        self.nucleic: Encoder | None = None
        self.training_config = ""
        """The configuration the weights were or are trained with, as YAML; checkpointed."""

    @property
    def config_hash(self) -> str:
        """SHA-256 over the configuration the weights were trained with."""
        return hashlib.sha256(self.training_config.encode()).hexdigest()

    @property
    def starts_pretrained(self) -> bool:
        """Whether the encoder starts from pre-trained weights."""
        return self._folder is not None and self.encoder_weights == "pretrained"

    @property
    def start_record(self) -> Mapping[str, Any]:
        """What is written down about the weights it starts from; nothing of random ones."""
        return self._stored_extra if self.starts_pretrained else {}

    @property
    def nucleic_start_record(self) -> Mapping[str, Any]:
        """The same of a second encoder, of nucleic acids."""
        known = self.nucleic_half is not None and self.starts_pretrained
        return self.nucleic_half.extra if known and self.nucleic_half else {}

    @property
    def label(self) -> str:
        """What stands for this model in results."""
        if self.nucleic_half is not None:
            return "two pre-trained encoders" if self.starts_pretrained else "two random encoders"
        return PRETRAINED if self.starts_pretrained else RANDOM

    @property
    def state_width(self) -> int:
        """Width of the states that a head reads: D, or D1 + D2 of two encoders."""
        second = 0 if self.nucleic_half is None else self.nucleic_half.config.width
        return self.encoder_config.width + second

    @abstractmethod
    def build(self) -> Head | Readout:
        """Build what the task adds to the encoder; called once, after the encoder is there.

        Its weights are given their values afterwards, because a sharded model has none until it
        is sharded.
        """

    @abstractmethod
    def progress(self, batch: PackedBatch) -> float:
        """Share of the run that is done before a batch, 0 to 1."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """What must be the same for a checkpoint to fit: head, outputs."""

    def configure_model(self) -> None:
        """Build the model once; Lightning calls this before it loads a checkpoint."""
        if self.encoder is not None:
            return
        mesh = self._mesh()
        if mesh is None:
            self.encoder = Encoder(
                self.encoder_config, self.vocab_size, seed=self.init_seed, dropout=self.dropout
            )
            self._build_nucleic()
            added = self.build()
        else:
            if self.nucleic_half is not None:
                raise ConfigError(
                    "two encoders are not sharded",
                    where="trainer.strategy",
                    mend="use ddp, or one process",
                )
            with torch.device("meta"):
                self.encoder = Encoder(self.encoder_config, self.vocab_size, dropout=self.dropout)
                added = self.build()
            strategy: Any = self.trainer.strategy
            shard(
                self.encoder,
                [added],
                mesh=mesh,
                param_dtype=getattr(strategy, "param_dtype", torch.float32),
                device=strategy.root_device,
            )
            self.encoder.reset_parameters(seed=self.init_seed)
        added.reset_parameters(seed=self.init_seed)
        if self.starts_pretrained:
            assert self._folder is not None
            self.load_pretrained(self._folder)
            if self.nucleic is not None:
                assert self.nucleic_half is not None
                assert self.nucleic_half.folder is not None
                load_encoder_weights(self.nucleic_half.folder, self.nucleic)

    def _build_nucleic(self) -> None:
        half = self.nucleic_half
        if half is None:
            return
        assert half.vocab_size is not None  # setup has asked the data
        # Another seed: with equal sizes the two would begin with equal weights.
        self.nucleic = Encoder(
            half.config, half.vocab_size, seed=self.init_seed + 1, dropout=self.dropout
        )

    def _mesh(self) -> DeviceMesh | None:
        """The processes that the weights are divided among; null where each holds all of them."""
        meshes: Any = self._device_mesh
        if meshes is None:
            return None
        if meshes["tensor_parallel"].size() > 1:
            raise ConfigError(
                "tensor parallelism is not there: no layer is cut in parts",
                where="trainer.strategy",
                mend="use ShardedStrategy, which divides the weights among all processes",
            )
        mesh: DeviceMesh = meshes["data_parallel"]
        return mesh

    def load_pretrained(self, folder: Path) -> None:
        """Load what the task takes from an encoder folder.

        Args:
            folder: Encoder folder.

        Raises:
            CheckpointError: If it does not fit.
        """
        assert self.encoder is not None
        load_encoder_weights(folder, self.encoder)

    def on_train_start(self) -> None:
        """Prepare the layers for the device they have come to."""
        assert self.encoder is not None
        self.encoder.configure(self.compute, self.device)
        if self.nucleic is not None:
            self.nucleic.configure(self.compute, self.device)

    def on_fit_start(self) -> None:
        """Refuse a run without an end: the schedule is a function of how much of it is done.

        Raises:
            ConfigError: If neither epochs nor steps are limited.
        """
        if self.trainer.max_epochs == -1 and self.trainer.max_steps == -1:
            raise ConfigError(
                "the run has no end, so the learning rate has no schedule",
                where="trainer.max_epochs",
                mend="limit it, or trainer.max_steps",
            )

    def setup(self, stage: str) -> None:
        """Refuse data that does not fit the encoder, before anything is launched.

        Raises:
            CheckpointError: If data and encoder have different tokenizers.
            ConfigError: If the data's groups are longer than the encoder's context.
        """
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        fingerprint = data.tokenizer.fingerprint
        if self._stored_tokenizer not in (None, fingerprint):
            raise CheckpointError(
                "the data is tokenised by another tokenizer than the encoder was trained with",
                where=str(self._folder),
                mend="use the encoder folder as data.tokenizer",
            )
        if data.context > self.encoder_config.context:
            raise ConfigError(
                f"groups of {data.context} tokens, the encoder takes {self.encoder_config.context}",
                where="data.context",
                mend="lower it, or raise model.encoder.context",
            )
        second: Any = getattr(data, "nucleic_tokenizer", None)
        if (second is None) != (self.nucleic_half is None):
            wanted = "model.nucleic_encoder" if second is not None else "data.nucleic_tokenizer"
            raise ConfigError(
                "nucleic acids go to a second encoder on one side of model and data only",
                where=wanted,
                mend=f"set {wanted}, too, or neither",
            )
        if self.nucleic_half is not None:
            self.nucleic_half.fit(
                fingerprint=second.fingerprint, vocab_size=second.vocab_size, context=data.context
            )

    def configure_optimizers(self) -> AdamW:
        settings = self.optimizer_settings
        groups = settings.groups(self, self.encoder_config.width)
        if self.nucleic is not None and self.nucleic_half is not None:
            ratio = self.encoder_config.width / self.nucleic_half.config.width
            groups = with_second_body(groups, self.nucleic, ratio)
        for group in groups:
            group["peak_lr"] = group["lr"]
        optimizer = AdamW(groups, betas=settings.betas, eps=settings.eps, fused=True)
        # Fused, it could undo the scaling of fp16 gradients itself. Then Lightning would refuse to
        # clip them before, in bf16-mixed too, where nothing is scaled.
        optimizer._step_supports_amp_scaling = False
        return optimizer

    def on_train_batch_start(self, batch: PackedBatch, batch_idx: int) -> None:
        """Set the learning rate of every group: the schedule is a function of progress alone."""
        if self.dropout.any:
            # A function of the place in the run: a run that goes on drops what it would have.
            part = batch_idx % self.trainer.accumulate_grad_batches
            place = f"{self.init_seed} {self.trainer.global_step} {part} {self.global_rank}"
            digest = hashlib.blake2b(place.encode(), digest_size=8).digest()
            torch.manual_seed(int.from_bytes(digest, "little"))
        factor = self.schedule.factor(self.progress(batch))
        optimizer = self.optimizers()
        assert not isinstance(optimizer, list)
        for group in optimizer.param_groups:
            group["lr"] = group["peak_lr"] * factor

    def progress_in_steps(self) -> float:
        """Share of the optimiser steps of a run of known length that is done, 0 to 1."""
        return self.trainer.global_step / max(1, self.trainer.estimated_stepping_batches)

    def step_scale(self) -> float:
        """What undoes Lightning's and the strategy's averaging.

        The strategy averages gradients over ranks and Lightning over accumulated micro-batches;
        a loss that is already a share of the whole global step must be summed instead.
        """
        return float(self.trainer.world_size * self.trainer.accumulate_grad_batches)

    def states(self, batch: PackedBatch) -> Tensor:
        """Encoder states of a batch, (T, D)."""
        assert self.encoder is not None
        states: Tensor = self.encoder(batch)
        return states

    def encoded(self, batch: LabelledBatch, *, pooling: Pooling) -> tuple[Tensor, PackedBatch]:
        """What a head reads of a batch: states, and the batch of groups they belong to.

        Args:
            batch: Rows; with a second encoder, its nucleic part is there.
            pooling: State of a group that the head reads; two encoders are pooled one by one.

        Returns:
            States (T, D) and the batch itself; of two encoders, states (B, D1 + D2) and a batch
            of one token for each row.
        """
        if self.nucleic is None:
            return self.states(batch), batch
        assert batch.nucleic is not None
        proteins, nucleic = self.states(batch), self.nucleic(batch.nucleic)
        return side_by_side(proteins, batch, nucleic, batch.nucleic, pooling=pooling)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Write down what the weights belong to."""
        checkpoint[_CHECKPOINT_KEY] = self._identity() | {
            "version": __version__,
            "training_config": self.training_config,
            "benchmark": getattr(self._data, "benchmark", None),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse weights that belong to something else.

        Raises:
            CheckpointError: If task, head, encoder, tokenizer or split differ; a benchmark that
                only evaluates has no split to differ in.
        """
        there = checkpoint.get(_CHECKPOINT_KEY)
        if there is None:
            raise CheckpointError("not a checkpoint of biote", where="--ckpt_path")
        for name, wanted in self._identity().items():
            if there.get(name) == wanted or (name == "split" and self.tests_elsewhere):
                continue
            if name == "split":
                raise CheckpointError(
                    "it was trained on another split of the data (corpus, fold or fold file): "
                    "what is evaluated here may be what it was trained on",
                    where="--ckpt_path",
                    mend="use the data settings it was trained with (config.yaml beside it)",
                )
            raise CheckpointError(
                f"it was trained with {name} {there.get(name)}, this run has {wanted}",
                where="--ckpt_path",
                mend="use the configuration it was trained with (config.yaml beside it)",
            )
        if self.tests_elsewhere:
            logger.info(
                "Trained on %s, tested on %s.",
                there.get("benchmark") or "what it does not say",
                self._data.benchmark,
            )
        if not self.training_config:
            self.training_config = there.get("training_config", "")
        if "loops" in checkpoint:
            _replay_open_step(checkpoint["loops"], self.trainer.accumulate_grad_batches)

    @property
    def tests_elsewhere(self) -> bool:
        """Whether the data are a benchmark without training rows, for models of another one."""
        return bool(getattr(self._data, "evaluates_only", False))

    @property
    def _data(self) -> Any:
        return self.trainer.datamodule  # type: ignore[attr-defined]

    def _identity(self) -> dict[str, Any]:
        data = self._data
        identity = {
            "task": type(self).__name__,
            "encoder": asdict(self.encoder_config) | {"vocab_size": self.vocab_size},
            "tokenizer": data.tokenizer.fingerprint,
            "split": data.split_fingerprint,
        }
        return identity | self._nucleic_identity() | self.describe()

    def _nucleic_identity(self) -> dict[str, Any]:
        half = self.nucleic_half
        if half is None:
            return {}
        data = self._data
        return {
            "nucleic encoder": asdict(half.config) | {"vocab_size": half.vocab_size},
            "nucleic tokenizer": data.nucleic_tokenizer.fingerprint,
        }


def _replay_open_step(loops: dict[str, Any], accumulate: int) -> None:
    """Take back the micro-batches of a step that was not finished when a checkpoint was saved.

    Their gradients are not in the checkpoint. The data begin at the step anew, so Lightning's
    count of batches, by which it accumulates, has to.

    Args:
        loops: State of Lightning's loops, changed in place.
        accumulate: Micro-batches of a step.
    """
    progress = loops["fit_loop"]["epoch_loop.batch_progress"]
    done = progress["current"]["processed"] % accumulate
    for counts in (progress["current"], progress["total"]):
        for name in ("ready", "started", "processed", "completed"):
            counts[name] -= done


def summed_loss(values: Tensor, *, whole: int, scale: float) -> Tensor:
    """A micro-batch's share of the mean over its whole global step.

    Args:
        values: Losses of the items of this micro-batch, of any shape; may be empty.
        whole: Number of items of the whole global step: all ranks, all micro-batches.
        scale: See `EncoderModule.step_scale`.

    Returns:
        A scalar; summed over all micro-batches and ranks, divided by ``scale``, it is the mean.
    """
    return values.sum() * (scale / max(whole, 1))
