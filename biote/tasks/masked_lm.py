"""Masked language modelling: the pre-training task.

Legend: M masked tokens, T packed tokens, D width, V vocabulary.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, nn

from biote.batch import MaskedBatch, PackedBatch
from biote.errors import ConfigError
from biote.modules.base import EncoderModule, summed_loss
from biote.modules.config import Compute, Dropout, EncoderConfig
from biote.modules.cross_entropy import cross_entropy
from biote.modules.mup import PretrainingOptimizer
from biote.modules.readout import PRETRAINING_BASE_WIDTH, Readout
from biote.modules.schedule import OneCycle
from biote.modules.weights import load_encoder_weights
from biote.molecules import MOLECULES, Modality, Molecule
from biote.tasks.metrics import MaskedTokenMetric, MaskedTokenSummary, summarise
from biote.tasks.results import Score

MODALITIES = tuple(Modality)
_READOUT_STD = 1e-5
_COMPARED = ("model", "unigram", "gain")


class MaskedLMTask(EncoderModule):
    """Predict masked tokens of nucleic acids and proteins.

    The readout is computed at masked positions only, and the loss is the summed cross-entropy
    over the masked tokens of the whole global step.

    Args:
        encoder: Sizes of the encoder.
        encoder_checkpoint: Encoder folder to continue from, readout included.
        optimizer: muP learning rates and decay.
        schedule: Learning rate over the token budget.
        vocab_size: Number of token ids; the datamodule gives it.
        init_seed: Chooses the random weights.
        dropout: What is dropped in training.
        compute: How the layers are computed.

    Source: paper, Methods (pre-training).
    """

    unigram_counts: Tensor
    by_molecule: Tensor

    monitored = (
        "val_loss",
        *(
            f"val_{name}_{m}"
            for name in ("loss", "perplexity", "masked_accuracy")
            for m in MODALITIES
        ),
    )

    def __init__(
        self,
        encoder: EncoderConfig | None = None,
        encoder_checkpoint: str | None = None,
        *,
        optimizer: PretrainingOptimizer = PretrainingOptimizer(),  # noqa: B008 - frozen
        schedule: OneCycle = OneCycle(warmup=0.004),  # noqa: B008 - frozen
        vocab_size: int,
        init_seed: int = 0,
        dropout: Dropout = Dropout(),  # noqa: B008 - frozen
        compute: Compute = Compute(),  # noqa: B008 - frozen
    ) -> None:
        super().__init__(
            encoder,
            encoder_checkpoint,
            encoder_weights="pretrained",
            optimizer=optimizer,
            schedule=schedule,
            vocab_size=vocab_size,
            init_seed=init_seed,
            dropout=dropout,
            compute=compute,
        )
        # Masked tokens seen in training: what a guess from frequencies alone would know.
        counts = torch.zeros(len(MODALITIES), vocab_size, dtype=torch.int64)
        self.register_buffer("unigram_counts", counts)
        # Sums of losses and numbers of masked tokens of every molecule type, in an evaluation.
        sums = torch.zeros(2, len(MOLECULES), dtype=torch.float64)
        self.register_buffer("by_molecule", sums, persistent=False)
        self.metrics = nn.ModuleDict(
            {f"{kind}_{m}": MaskedTokenMetric() for kind in _COMPARED for m in MODALITIES}
        )
        self.readout: Readout | None = None

    def setup(self, stage: str) -> None:
        super().setup(stage)
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        if not hasattr(data, "corpora"):
            raise ConfigError(
                f"{type(data).__name__} has no masked tokens",
                where="data",
                mend="MaskedLMTask takes PretrainingDataModule",
            )

    def build(self) -> Readout:
        self.readout = Readout(
            self.encoder_config.width,
            self.vocab_size,
            base_width=PRETRAINING_BASE_WIDTH,
            bias=False,
            std=_READOUT_STD,
        )
        return self.readout

    def load_pretrained(self, folder: Path) -> None:
        assert self.encoder is not None
        load_encoder_weights(folder, self.encoder, self.readout)

    @property
    def label(self) -> str:
        return "masked language model"

    @property
    def head_name(self) -> str:
        """Class of what makes the predictions."""
        return "Readout"

    def describe(self) -> dict[str, Any]:
        return {}

    def progress(self, batch: PackedBatch) -> float:
        assert isinstance(batch, MaskedBatch)
        return batch.progress

    def masked_logits(self, batch: MaskedBatch) -> Tensor:
        """Logits at the masked tokens, (M, V)."""
        assert self.readout is not None
        logits: Tensor = self.readout(self.states(batch)[batch.masked])
        return logits

    def training_step(self, batch: MaskedBatch, batch_idx: int) -> Tensor:
        logits = self.masked_logits(batch)
        losses, predicted = cross_entropy(logits, batch.targets)  # (M,) each
        modality = _modality(batch)
        self._count_targets(batch.targets, modality)
        hits = (predicted == batch.targets).float()
        self._log_step(losses.detach(), hits, modality)
        if self.trainer._logger_connector.should_update_logs:
            molecules = batch.molecules[batch.masked]
            sums, tokens = _sums_by_molecule(losses.detach(), molecules)
            for molecule, mean in zip(MOLECULES, (sums / tokens).unbind(), strict=True):
                if molecule is not Molecule.PROTEIN:  # it is the modality, logged already
                    # Without a masked token of a type, 0 / 0: the point is left out of the curve.
                    self.log(f"train_loss_{molecule}", mean, batch_size=1)
        return summed_loss(losses, whole=batch.step_masked, scale=self.step_scale())

    def _count_targets(self, targets: Tensor, modality: Tensor) -> None:
        counts = torch.zeros_like(self.unigram_counts)
        counts.index_put_((modality, targets), torch.ones_like(targets), accumulate=True)
        if self.trainer.world_size > 1:
            # Not Lightning's reduce, which waits for the device first.
            distributed.all_reduce(counts)
        self.unigram_counts += counts

    def on_train_batch_end(self, outputs: Any, batch: MaskedBatch, batch_idx: int) -> None:
        """Stop when the token budget is spent.

        Lightning validates once more when it is asked to stop, but not when the data merely end.
        """
        if batch.last and self.trainer.global_step > batch.step:
            self.trainer.should_stop = True

    def _log_step(self, losses: Tensor, hits: Tensor, modality: Tensor) -> None:
        count = max(losses.numel(), 1)
        self.log("train_loss", losses.sum() / count, prog_bar=True, batch_size=count)
        self.log("train_masked_accuracy", hits.sum() / count, batch_size=count)
        for i, name in enumerate(MODALITIES):
            here = (modality == i).float()
            # No masked token of a modality gives 0 / 0: the point is left out of the curve.
            mean = (losses * here).sum() / here.sum()
            self.log(f"train_loss_{name}", mean, batch_size=count)
            self.log(f"train_perplexity_{name}", mean.exp(), batch_size=count)
            accuracy = (hits * here).sum() / here.sum()
            self.log(f"train_masked_accuracy_{name}", accuracy, batch_size=count)

    def validation_step(self, batch: MaskedBatch, batch_idx: int) -> None:
        self._evaluate(batch)

    def test_step(self, batch: MaskedBatch, batch_idx: int) -> None:
        self._evaluate(batch)

    def _evaluate(self, batch: MaskedBatch) -> None:
        logits = self.masked_logits(batch)
        losses, predicted = cross_entropy(logits, batch.targets)
        hits = predicted == batch.targets
        modality = _modality(batch)
        windows = torch.bucketize(batch.masked, batch.cu_seqlens[1:].long(), right=True)
        # Add-one smoothing: a token never seen in training has a finite cost.
        unigram = (self.unigram_counts + 1).double().log().log_softmax(-1)  # (modalities, V)
        for i, name in enumerate(MODALITIES):
            here = modality == i
            targets, where = batch.targets[here], windows[here]
            guess, guessed = -unigram[i][targets], targets == self.unigram_counts[i].argmax()
            self._metric("model", name).update(losses[here], hits[here], where)
            self._metric("unigram", name).update(guess, guessed, where)
            # Token by token: both find the same windows hard, so their difference is better known.
            self._metric("gain", name).update(
                guess - losses[here], hits[here].float() - guessed.float(), where
            )
        self.by_molecule += torch.stack(
            _sums_by_molecule(losses.double(), batch.molecules[batch.masked])
        )

    def _metric(self, kind: str, modality: Modality) -> MaskedTokenMetric:
        metric = self.metrics[f"{kind}_{modality}"]
        assert isinstance(metric, MaskedTokenMetric)
        return metric

    def summaries(self) -> dict[tuple[str, Modality], MaskedTokenSummary]:
        """Summaries of the last evaluation, by ``model``, ``unigram`` or ``gain`` and modality.

        The gain is what the model's cross-entropy is below and its accuracy above the unigram
        guess's, with the standard error of the paired difference.
        """
        found = {
            (kind, m): summarise(self._metric(kind, m).compute())
            for kind in _COMPARED
            for m in MODALITIES
            if self._metric(kind, m).update_called
        }
        return {name: summary for name, summary in found.items() if summary is not None}

    def on_validation_epoch_end(self) -> None:
        self._log_summaries("val")

    def on_test_epoch_end(self) -> None:
        self._log_summaries("test")
        self.scores = [
            Score(metric=f"{prefix}{name}_{modality}", value=value, n=summary.tokens, unit=unit)
            for (kind, modality), summary in self.summaries().items()
            if kind != "gain"
            for prefix in ["" if kind == "model" else "unigram_"]
            for name, value, unit in (
                ("cross_entropy", summary.cross_entropy, "nat"),
                ("masked_accuracy", summary.accuracy, ""),
            )
        ]

    def _log_summaries(self, prefix: str) -> None:
        summaries = self.summaries()
        model = {m: summary for (kind, m), summary in summaries.items() if kind == "model"}
        tokens = sum(summary.tokens for summary in model.values())
        for name, summary in model.items():
            unigram = summaries["unigram", name]
            self.log(f"{prefix}_unigram_loss_{name}", unigram.cross_entropy)
            self.log(f"{prefix}_loss_{name}", summary.cross_entropy)
            self.log(f"{prefix}_perplexity_{name}", summary.perplexity)
            self.log(f"{prefix}_masked_accuracy_{name}", summary.accuracy)
        self._log_molecules(prefix)
        if tokens:
            loss = sum(s.cross_entropy * s.tokens for s in model.values()) / tokens
            self.log(f"{prefix}_loss", loss, prog_bar=True)

    def _log_molecules(self, prefix: str) -> None:
        """Log the loss of every molecule type, over all processes."""
        sums = self.by_molecule
        if self.trainer.world_size > 1:
            distributed.all_reduce(sums)
        for molecule, (loss, tokens) in zip(MOLECULES, sums.T.tolist(), strict=True):
            if tokens and molecule is not Molecule.PROTEIN:
                self.log(f"{prefix}_loss_{molecule}", loss / tokens)

    def on_validation_epoch_start(self) -> None:
        self._reset()

    def on_test_epoch_start(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self.by_molecule.zero_()
        for metric in self.metrics.values():
            assert isinstance(metric, MaskedTokenMetric)
            metric.reset()


def _sums_by_molecule(losses: Tensor, molecules: Tensor) -> tuple[Tensor, Tensor]:
    """Sum of the losses (M,) and number of tokens of every molecule type, in order of code."""
    empty = losses.new_zeros(len(MOLECULES))
    codes = molecules.long()
    sums = empty.index_add(0, codes, losses)
    return sums, empty.index_add(0, codes, torch.ones_like(losses))


def _modality(batch: MaskedBatch) -> Tensor:
    """Index in `MODALITIES` of every masked token, (M,)."""
    protein = batch.molecules[batch.masked] == Molecule.PROTEIN.code
    return protein.long() * MODALITIES.index(Modality.PROTEIN)
