"""Regression of one or more numbers from a group of sequences.

Legend: B rows, T packed tokens, D width, C targets of a row.
"""

from __future__ import annotations

import math
from typing import Any, Final

import torch
from torch import Tensor, nn
from torchmetrics import (
    MeanAbsoluteError,
    MeanMetric,
    MetricCollection,
    PearsonCorrCoef,
    SumMetric,
)

from biote.batch import LabelledBatch, PackedBatch
from biote.errors import CheckpointError, ConfigError
from biote.modules.base import EncoderModule, EncoderWeights, summed_loss
from biote.modules.config import Compute, Dropout, EncoderConfig
from biote.modules.heads.base import Head
from biote.modules.mup import FineTuningOptimizer
from biote.modules.pair import NucleicEncoder
from biote.modules.schedule import OneCycle
from biote.tasks.correlation import RankCorrelation
from biote.tasks.fitting import HeadFactory, build_fitting_head, check_head, head_name
from biote.tasks.results import Score, row_outputs

_LEVEL: Final = "group"


class RegressionTask(EncoderModule):
    """Predict numbers, for example binding free energies.

    The head emits standardised values; mean and standard deviation of the training targets are
    buffers of the task, so predictions and metrics are in the units of the data.

    Args:
        encoder: Sizes of an encoder that starts from random weights.
        encoder_checkpoint: Encoder folder to start from.
        head: Head class and its options; the task gives it width and number of outputs.
        encoder_weights: ``random`` keeps the sizes of ``encoder_checkpoint``, not its weights.
        optimizer: Learning rates of head, embedding and body.
        schedule: Learning rate over the run.
        n_outputs: Number of targets; the datamodule gives it.
        vocab_size: Number of token ids; the datamodule gives it.
        init_seed: Chooses the random weights.
        dropout: What is dropped in training.
        compute: How the layers are computed.
        nucleic_encoder: Second encoder that reads the nucleic acids by itself, and the head reads
            the states of both; null has one encoder read all.

    Source: paper, Methods (Delta G).
    """

    target_mean: Tensor
    target_std: Tensor

    monitored = ("val_pcc", "val_spearman", "val_mae")

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
        nucleic_encoder: NucleicEncoder | None = None,
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
            nucleic_encoder=nucleic_encoder,
        )
        width = self.state_width
        check_head(head, width, n_outputs, level=_LEVEL, task="RegressionTask")
        self._head_factory = head
        self.head_name = head_name(head, width, n_outputs)
        self.n_outputs = n_outputs
        self.head: Head | None = None
        self.register_buffer("target_mean", torch.zeros(n_outputs))
        self.register_buffer("target_std", torch.ones(n_outputs))
        metrics = MetricCollection(
            {
                "pcc": PearsonCorrCoef(num_outputs=n_outputs),
                "spearman": RankCorrelation(num_outputs=n_outputs),
                "mae": MeanAbsoluteError(num_outputs=n_outputs),
            }
        )
        # Predictions that hardly differ lose all digits of a correlation in single precision.
        metrics.set_dtype(torch.float64)
        self.metrics = nn.ModuleDict({name: metrics.clone() for name in ("val", "test")})
        self.tested_rows = SumMetric()
        self.mean_prediction = MeanMetric()

    def setup(self, stage: str) -> None:
        super().setup(stage)
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        if getattr(data, "target_kind", None) != "regression":
            raise ConfigError(
                f"{type(data).__name__} has no numbers to predict",
                where="data",
                mend="use ClassificationTask for classes, a residue task or ContactMapTask for "
                "residues, MaskedLMTask for pre-training",
            )
        if self.tests_elsewhere:
            # The scale is the checkpoint's, which is loaded after this: without it, no number.
            self.target_mean.fill_(math.nan)
            self.target_std.fill_(math.nan)
            return
        mean, deviation = data.target_statistics
        self.target_mean.copy_(torch.from_numpy(mean))
        self.target_std.copy_(torch.from_numpy(deviation))

    def build(self) -> Head:
        self.head = build_fitting_head(
            self._head_factory,
            self.state_width,
            self.n_outputs,
            level=_LEVEL,
            task="RegressionTask",
        )
        return self.head

    def describe(self) -> dict[str, Any]:
        return {"head": self.head_name, "n_outputs": self.n_outputs}

    def progress(self, batch: PackedBatch) -> float:
        return self.progress_in_steps()

    def standardised(self, batch: LabelledBatch) -> Tensor:
        """Head outputs for the rows of a batch, (B, C)."""
        assert self.head is not None
        outputs: Tensor = self.head(*self.encoded(batch, pooling=self.head.pooling))
        return outputs[: len(batch.row_ids)]  # without the padding group of an idle rank

    def forward(self, batch: LabelledBatch) -> Tensor:
        """Predictions in the units of the data, (B, C)."""
        return self.standardised(batch).float() * self.target_std + self.target_mean

    def training_step(self, batch: LabelledBatch, batch_idx: int) -> Tensor:
        targets = (batch.targets - self.target_mean) / self.target_std
        errors = (self.standardised(batch).float() - targets).square()
        rows = len(batch.row_ids)
        self.log("train_loss", errors.detach().sum() / max(1, errors.numel()), prog_bar=True,
                 batch_size=max(1, rows))  # fmt: skip
        whole = batch.step_rows * self.n_outputs
        return summed_loss(errors, whole=whole, scale=self.step_scale())

    def validation_step(self, batch: LabelledBatch, batch_idx: int) -> None:
        self._update("val", self(batch), batch)

    def on_validation_epoch_end(self) -> None:
        for name, value in self._compute("val").items():
            self.log(f"val_{name}", value, prog_bar=True)

    def on_test_start(self) -> None:
        """Refuse to predict without the scale of the training targets.

        Raises:
            CheckpointError: If no checkpoint was loaded for a benchmark without training rows.
        """
        if not bool(torch.isfinite(self.target_std).all()):
            raise CheckpointError(
                "no trained model to test",
                where="--ckpt_path",
                mend="give the checkpoint of a model that was trained on another benchmark",
            )

    def on_predict_start(self) -> None:
        """Refuse to predict without a scale; see `on_test_start`."""
        self.on_test_start()

    def test_step(self, batch: LabelledBatch, batch_idx: int) -> dict[str, Any]:
        predictions = self(batch)
        if self.tests_elsewhere:
            self.mean_prediction.update(predictions)
        else:
            self._update("test", predictions, batch)
        self.tested_rows.update(len(batch.row_ids))
        return row_outputs(batch, predictions)

    def on_test_epoch_end(self) -> None:
        rows = int(self.tested_rows.compute())
        self.tested_rows.reset()
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        if self.tests_elsewhere:
            mean = float(self.mean_prediction.compute())
            self.mean_prediction.reset()
            self.scores = [Score(metric="mean_prediction", value=mean, n=rows, unit=data.unit)]
            return
        units = {"mae": data.unit}
        self.scores = [
            Score(metric=name, value=value, n=rows, unit=units.get(name, ""))
            for name, value in self._compute("test").items()
        ]
        for score in self.scores:
            self.log(f"test_{score.metric}", score.value)

    def predict_step(self, batch: LabelledBatch, batch_idx: int) -> dict[str, Any]:
        return row_outputs(batch, self(batch))

    def _update(self, stage: str, predictions: Tensor, batch: LabelledBatch) -> None:
        metrics = self.metrics[stage]
        assert isinstance(metrics, MetricCollection)
        if len(batch.row_ids):
            # torchmetrics wants (B,) for one output, (B, C) for several.
            one = self.n_outputs == 1
            predicted, targets = predictions.double(), batch.targets.double()
            metrics.update(predicted[:, 0] if one else predicted, targets[:, 0] if one else targets)

    def _compute(self, stage: str) -> dict[str, float]:
        metrics = self.metrics[stage]
        assert isinstance(metrics, MetricCollection)
        values = {name: float(value.mean()) for name, value in metrics.compute().items()}
        metrics.reset()
        return values
