"""Contacts between the residues of a protein.

Legend: B proteins, T packed tokens, n tokens of one protein, P pairs of residues.
"""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchmetrics import SumMetric

from biote.batch import PackedBatch
from biote.errors import ConfigError
from biote.modules.base import EncoderModule, EncoderWeights, summed_loss
from biote.modules.config import Compute, Dropout, EncoderConfig
from biote.modules.heads.base import Head
from biote.modules.mup import FineTuningOptimizer
from biote.modules.schedule import OneCycle
from biote.pair_batch import PairBatch
from biote.tasks.contact_metrics import CONTACT_METRICS, RANGES, ContactMetric
from biote.tasks.fitting import HeadFactory, build_fitting_head, check_head, head_name
from biote.tasks.pairs import (
    Protein,
    ResiduePairs,
    best_scores,
    proteins_of,
    residue_pairs,
    residue_scores,
    token_targets,
)
from biote.tasks.residue_bounds import UPPER_BOUND
from biote.tasks.results import Score
from biote.tasks.running_statistics import join_statistics, statistics_of

_LEVEL: Final = "pair"
_BOUNDED: Final = ("p_at_l5_medium_long",)
_BOUNDED_SEPARATION: Final = RANGES["medium_long"][0]


class ContactMapTask(EncoderModule):
    """Predict which residues of a protein are in contact.

    The loss of a protein is the mean binary cross-entropy over its labelled pairs of tokens, that
    of a step the mean over its proteins. Metrics are over pairs of residues, whatever the
    tokenizer, each with its tokens' probability; with tokens of several residues the best score
    that any ranking of token pairs could have is reported beside them.

    Args:
        encoder: Sizes of an encoder that starts from random weights.
        encoder_checkpoint: Encoder folder to start from.
        head: Head class and its options; the task gives it width and number of outputs.
        encoder_weights: ``random`` keeps the sizes of ``encoder_checkpoint``, not its weights.
        optimizer: Learning rates of head, embedding and body.
        schedule: Learning rate over the run.
        n_outputs: 1; the datamodule gives it.
        vocab_size: Number of token ids; the datamodule gives it.
        init_seed: Chooses the random weights.
        dropout: What is dropped in training.
        compute: How the layers are computed.

    Source: paper, Methods (TAPE contacts).
    """

    monitored = tuple(f"val_{name}" for name in CONTACT_METRICS)

    def __init__(
        self,
        encoder: EncoderConfig | None = None,
        encoder_checkpoint: str | None = None,
        *,
        head: HeadFactory,
        encoder_weights: EncoderWeights = "pretrained",
        optimizer: FineTuningOptimizer = FineTuningOptimizer(),  # noqa: B008 - frozen
        schedule: OneCycle = OneCycle(),  # noqa: B008 - frozen
        n_outputs: int,
        vocab_size: int,
        init_seed: int = 0,
        dropout: Dropout = Dropout(),  # noqa: B008 - frozen
        compute: Compute = Compute(),  # noqa: B008 - frozen
    ) -> None:
        super().__init__(
            encoder,
            encoder_checkpoint,
            encoder_weights=encoder_weights,
            optimizer=optimizer,
            schedule=schedule,
            vocab_size=vocab_size,
            init_seed=init_seed,
            dropout=dropout,
            compute=compute,
        )
        width = self.encoder_config.width
        check_head(head, width, n_outputs, level=_LEVEL, task="ContactMapTask")
        self._head_factory = head
        self.head_name = head_name(head, width, n_outputs)
        self.n_outputs = n_outputs
        self.head: Head | None = None
        self.metrics = nn.ModuleDict(
            {name: ContactMetric() for name in ("val", "test", "test_bound")}
        )
        self.tested_rows = SumMetric()
        self.tested_tokens = SumMetric()
        self.tested_residues = SumMetric()
        self._before: Tensor | None = None
        self._proteins = 0
        self._cutoff_angstrom = 0.0
        self._min_separation = 0

    def setup(self, stage: str) -> None:
        super().setup(stage)
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        if getattr(data, "target_kind", None) != "contacts":
            raise ConfigError(
                f"{type(data).__name__} has no pairs of residues to predict",
                where="data",
                mend="use ContactMapDataModule, or another task",
            )
        self._cutoff_angstrom = data.cutoff_angstrom
        self._min_separation = data.min_separation

    def build(self) -> Head:
        self.head = build_fitting_head(
            self._head_factory,
            self.encoder_config.width,
            self.n_outputs,
            level=_LEVEL,
            task="ContactMapTask",
        )
        return self.head

    def describe(self) -> dict[str, Any]:
        return {"head": self.head_name, "n_outputs": self.n_outputs}

    def progress(self, batch: PackedBatch) -> float:
        return self.progress_in_steps()

    def forward(self, batch: PairBatch) -> list[Tensor]:
        """Logits of the pairs of tokens of every protein, (n, n) each."""
        assert self.head is not None
        logits: Tensor = self.head(self.states(batch), batch)
        sizes = [max(0, length - 2) for length in batch.lengths]
        maps = logits.float().split([n * n for n in sizes])
        return [pairs.view(n, n) for pairs, n in zip(maps, sizes, strict=True)]

    def training_step(self, batch: PairBatch, batch_idx: int) -> Tensor:
        assert self.head is not None
        self._before = statistics_of(self.head)
        self._proteins = len(batch.row_ids)
        maps = self(batch)
        if not batch.row_ids:  # this process has no protein in the step; its weights take part
            return torch.stack([pairs.sum() for pairs in maps]).sum()
        losses = torch.stack(
            [self._loss(*one) for one in zip(proteins_of(batch), maps, strict=True)]
        )
        rows = len(batch.row_ids)
        self.log("train_loss", losses.detach().mean(), prog_bar=True, batch_size=rows)
        return summed_loss(losses, whole=batch.step_rows, scale=self.step_scale())

    def on_after_backward(self) -> None:
        """Let the running statistics of the head know the proteins of all processes."""
        assert self.head is not None
        join_statistics(self.head, self._before, proteins=self._proteins)

    def _loss(self, protein: Protein, logits: Tensor) -> Tensor:
        """Mean over a protein's labelled pairs of tokens; 0 if it has none."""
        labelled, contacts = token_targets(protein, self._pairs(protein))
        found = logits.flatten()[labelled]
        losses = functional.binary_cross_entropy_with_logits(found, contacts, reduction="sum")
        return losses / max(1, len(labelled))

    def _pairs(self, protein: Protein) -> ResiduePairs:
        return residue_pairs(
            protein,
            cutoff_angstrom=self._cutoff_angstrom,
            min_separation=self._min_separation,
        )

    def validation_step(self, batch: PairBatch, batch_idx: int) -> None:
        maps = self(batch)[: len(batch.row_ids)]  # without the padding group of an idle rank
        for protein, logits in zip(proteins_of(batch), maps, strict=True):
            pairs = self._pairs(protein)
            scores = residue_scores(protein, pairs, logits.sigmoid())
            self._update("val", scores, pairs, protein)

    def on_validation_epoch_end(self) -> None:
        values = self._compute("val")
        for name, value in values.items():
            self.log(f"val_{name}", value, prog_bar=name == "p_at_l5_medium_long")

    def test_step(self, batch: PairBatch, batch_idx: int) -> dict[str, Any]:
        return self._scored(batch, test=True)

    def predict_step(self, batch: PairBatch, batch_idx: int) -> dict[str, Any]:
        return self._scored(batch, test=False)

    def _scored(self, batch: PairBatch, *, test: bool) -> dict[str, Any]:
        """Scores of the labelled pairs of residues."""
        ids: list[str] = []
        predictions = [torch.zeros(0)]
        targets = [torch.zeros(0)]
        positions = [torch.zeros(0, 2, dtype=torch.int64)]
        maps = self(batch)[: len(batch.row_ids)]
        for protein, logits in zip(proteins_of(batch), maps, strict=True):
            pairs = self._pairs(protein)
            scores = residue_scores(protein, pairs, logits.sigmoid())
            if test:
                self._update("test", scores, pairs, protein)
                bounds = best_scores(protein, pairs, min_separation=_BOUNDED_SEPARATION)
                self._update("test_bound", bounds, pairs, protein)
                self.tested_rows.update(1)
                self.tested_tokens.update(protein.n_tokens)
                self.tested_residues.update(int((protein.tokens >= 0).sum()))
            ids += [protein.row_id] * len(pairs.first)
            predictions.append(scores.cpu())
            targets.append(pairs.contacts.float().cpu())
            positions.append(pairs.positions.cpu())
        return {
            "row_ids": tuple(ids),
            "predictions": torch.cat(predictions)[:, None],
            "targets": torch.cat(targets)[:, None],
            "positions": torch.cat(positions),
        }

    def on_test_epoch_end(self) -> None:
        rows = int(self.tested_rows.compute())
        several = float(self.tested_residues.compute()) > float(self.tested_tokens.compute())
        for metric in (self.tested_rows, self.tested_residues, self.tested_tokens):
            metric.reset()
        values = self._compute("test")
        bounds = self._compute("test_bound")
        if several:
            values |= {f"{UPPER_BOUND}{name}": bounds[name] for name in _BOUNDED}
        self.scores = [
            Score(metric=name, value=value, n=rows, unit="") for name, value in values.items()
        ]
        for score in self.scores:
            self.log(f"test_{score.metric}", score.value)

    def _update(self, stage: str, scores: Tensor, pairs: ResiduePairs, protein: Protein) -> None:
        metric = self.metrics[stage]
        assert isinstance(metric, ContactMetric)
        metric.update(scores, pairs.contacts, pairs.separation, len(protein.tokens))

    def _compute(self, stage: str) -> dict[str, float]:
        metric = self.metrics[stage]
        assert isinstance(metric, ContactMetric)
        values = {name: float(value) for name, value in metric.compute().items()}
        metric.reset()
        return values
