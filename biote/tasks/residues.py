"""The base of every task that predicts for residues.

Legend: T packed tokens, N labelled tokens, R residues, K outputs, C labels of a residue.

A head predicts for tokens. Training compares tokens with their targets; every score compares
residues with their labels, each residue given the prediction of its token.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, Final

import torch
from torch import Tensor, nn

from biote.batch import PackedBatch
from biote.errors import ConfigError
from biote.modules.base import EncoderModule, EncoderWeights, summed_loss
from biote.modules.config import Compute, Dropout, EncoderConfig
from biote.modules.heads.base import Head
from biote.modules.mup import FineTuningOptimizer
from biote.modules.schedule import OneCycle
from biote.residue_batch import ResidueBatch, ResidueKind
from biote.tasks.fitting import HeadFactory, build_fitting_head, check_head, head_name
from biote.tasks.residue_bounds import BEST, BOUNDS
from biote.tasks.residue_metrics import METRICS, ResidueMetrics
from biote.tasks.results import Score, residue_outputs

_LEVEL: Final = "token"
UNSCORED: Final = "unscored_residues"


class ResidueTask(EncoderModule):
    """Predict for every residue of one sequence of a group.

    The loss is the sum over labelled tokens divided by the labelled tokens of the whole global
    step. Beside scores stand their bounds: the best that predictions for tokens can have on the
    labels of residues.

    Args:
        encoder: Sizes of an encoder that starts from random weights.
        encoder_checkpoint: Encoder folder to start from.
        head: Head class and its options; the task gives it width and number of outputs.
        encoder_weights: ``random`` keeps the sizes of ``encoder_checkpoint``, not its weights.
        optimizer: Learning rates of head, embedding and body.
        schedule: Learning rate over the run.
        n_outputs: Number of classes, or of labels of a residue; the datamodule gives it.
        vocab_size: Number of token ids; the datamodule gives it.
        init_seed: Chooses the random weights.
        dropout: What is dropped in training.
        compute: How the layers are computed.

    Source: paper, Methods (residue tasks).
    """

    kind: ClassVar[ResidueKind]
    """What the labels of residues must be."""

    scored_items: ClassVar[str] = "residues"
    """What a score is computed on."""

    label_mean: Tensor
    label_std: Tensor

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
        if self.kind == "classes" and n_outputs < 2:
            raise ConfigError(
                f"{type(self).__name__} needs two or more classes, the data has one output",
                where="data",
                mend="use ResidueBinaryTask for binary labels, ResidueRegressionTask for values",
            )
        self._head_factory = head
        self.n_outputs = n_outputs
        self.head_name = self.check_head()
        self.head: Head | None = None
        # Of values; classes and yes-or-no labels have no units.
        self.register_buffer("label_mean", torch.zeros(n_outputs))
        self.register_buffer("label_std", torch.ones(n_outputs))
        metrics = METRICS[self.kind]
        self.monitored = tuple(f"val_{metric}" for metric in metrics.monitored)
        self.metrics = nn.ModuleDict({name: metrics(n_outputs) for name in ("val", "test")})
        self.bounds = BOUNDS[self.kind](n_outputs)
        self.output_names: tuple[str, ...] = tuple(str(i) for i in range(n_outputs))
        self.scores: list[Score] = []

    def check_head(self) -> str:
        """Class name of the head; an unsuitable one is refused without making its weights.

        Raises:
            ConfigError: If it predicts for something else, or refuses the number of outputs.
        """
        width, name = self.encoder_config.width, type(self).__name__
        check_head(self._head_factory, width, self.n_outputs, level=_LEVEL, task=name)
        return head_name(self._head_factory, width, self.n_outputs)

    def setup(self, stage: str) -> None:
        super().setup(stage)
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        kind = getattr(data, "residue_kind", None)
        if kind != self.kind:
            what = f"labels of residues that are {kind}" if kind else "no labels of residues"
            raise ConfigError(
                f"{type(data).__name__} has {what}, {type(self).__name__} predicts {self.kind}",
                where="data",
                mend="use ResidueClassificationTask for classes, ResidueBinaryTask for binary, "
                "ResidueRegressionTask for values, another task for labels of whole sequences",
            )
        self.output_names = data.output_names
        if self.kind == "values":
            mean, deviation = data.target_statistics
            self.label_mean.copy_(torch.from_numpy(mean))
            self.label_std.copy_(torch.from_numpy(deviation))

    def build(self) -> Head:
        self.head = build_fitting_head(
            self._head_factory,
            self.encoder_config.width,
            self.n_outputs,
            level=_LEVEL,
            task=type(self).__name__,
        )
        return self.head

    def describe(self) -> dict[str, Any]:
        return {"head": self.head_name, "n_outputs": self.n_outputs}

    def progress(self, batch: PackedBatch) -> float:
        return self.progress_in_steps()

    @abstractmethod
    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Losses of labelled tokens.

        Args:
            outputs: What the head gives for them, (N, K).
            targets: Their targets, (N, C).

        Returns:
            (N,), the mean over the labels of a token.
        """

    @abstractmethod
    def predictions(self, outputs: Tensor) -> Tensor:
        """Probabilities, or values in their units.

        Args:
            outputs: What the head gives, (R, K).

        Returns:
            (R, K).
        """

    def outputs(self, batch: ResidueBatch) -> Tensor:
        """What the head gives for every token, (T, K)."""
        assert self.head is not None
        outputs: Tensor = self.head(self.states(batch), batch)
        return outputs.float()

    def forward(self, batch: ResidueBatch) -> Tensor:
        """Predictions for every residue, (R, K)."""
        return self.predictions(batch.of_residues(self.outputs(batch)))

    def training_step(self, batch: ResidueBatch, batch_idx: int) -> Tensor:
        outputs = self.outputs(batch).index_select(0, batch.labelled_tokens)
        losses = self.losses(outputs, batch.targets)  # (N,)
        tokens = max(1, len(losses))
        self.log("train_loss", losses.detach().sum() / tokens, prog_bar=True, batch_size=tokens)
        return summed_loss(losses, whole=batch.step_labelled, scale=self.step_scale())

    def validation_step(self, batch: ResidueBatch, batch_idx: int) -> None:
        self._update("val", self(batch), batch)

    def on_validation_epoch_end(self) -> None:
        metrics = self._metrics("val")
        values = metrics.compute(self.output_names)
        for name, value in (values | metrics.over_outputs(values, self.output_names)).items():
            self.log(f"val_{name}", value, prog_bar=name in metrics.monitored)
        metrics.reset()

    def test_step(self, batch: ResidueBatch, batch_idx: int) -> dict[str, Any]:
        predictions = self(batch)
        self._update("test", predictions, batch)
        known = batch.labelled_residues
        self.bounds.update(batch.residue_labels[known], batch.residue_tokens[known])
        return residue_outputs(batch, predictions)

    def on_test_epoch_end(self) -> None:
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        metrics = self._metrics("test")
        values = metrics.compute(self.output_names) | self.bounds.compute(self.output_names)
        residues = metrics.n_residues
        self.scores = [
            Score(
                metric=name,
                value=value,
                n=residues,
                unit=data.unit if name.removeprefix(BEST).split("_")[0] == "mae" else "",
            )
            for name, value in values.items()
        ]
        unscored = data.unscored_residues("test")
        self.scores.append(
            Score(metric=UNSCORED, value=unscored, n=residues + unscored, unit="residues")
        )
        for score in self.scores:
            self.log(f"test_{score.metric}", float(score.value))
        metrics.reset()
        self.bounds.reset()

    def predict_step(self, batch: ResidueBatch, batch_idx: int) -> dict[str, Any]:
        return residue_outputs(batch, self(batch))

    def _metrics(self, stage: str) -> ResidueMetrics:
        metrics = self.metrics[stage]
        assert isinstance(metrics, ResidueMetrics)
        return metrics

    def _update(self, stage: str, predictions: Tensor, batch: ResidueBatch) -> None:
        known = batch.labelled_residues
        self._metrics(stage).update(predictions[known], batch.residue_labels[known])
