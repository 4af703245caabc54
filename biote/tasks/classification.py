"""Classification of a group of sequences.

Legend: B rows, T packed tokens, C classes.
"""

from __future__ import annotations

from typing import Any, Final

from torch import Tensor, nn
from torch.nn import functional
from torchmetrics import MetricCollection, SumMetric
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score

from biote.batch import LabelledBatch, PackedBatch
from biote.errors import ConfigError
from biote.modules.base import EncoderModule, EncoderWeights, summed_loss
from biote.modules.config import Compute, Dropout, EncoderConfig
from biote.modules.heads.base import Head
from biote.modules.mup import FineTuningOptimizer
from biote.modules.pair import NucleicEncoder
from biote.modules.schedule import OneCycle
from biote.tasks.class_metrics import MatthewsCorrCoef, PresentClassesAUROC
from biote.tasks.fitting import HeadFactory, build_fitting_head, check_head, head_name
from biote.tasks.results import Score, row_outputs

_LEVEL: Final = "group"


class ClassificationTask(EncoderModule):
    """Predict the class of a group of sequences.

    Args:
        encoder: Sizes of an encoder that starts from random weights.
        encoder_checkpoint: Encoder folder to start from.
        head: Head class and its options; the task gives it width and number of classes.
        encoder_weights: ``random`` keeps the sizes of ``encoder_checkpoint``, not its weights.
        optimizer: Learning rates of head, embedding and body.
        schedule: Learning rate over the run.
        n_outputs: Number of classes; the datamodule gives it.
        vocab_size: Number of token ids; the datamodule gives it.
        init_seed: Chooses the random weights.
        dropout: What is dropped in training.
        compute: How the layers are computed.
        nucleic_encoder: Second encoder that reads the nucleic acids by itself, and the head reads
            the states of both; null has one encoder read all.

    Source: paper, Methods (GUE).
    """

    monitored = ("val_mcc", "val_accuracy", "val_f1_macro", "val_f1_weighted", "val_auroc")

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
        if n_outputs < 2:
            raise ConfigError(
                "ClassificationTask needs two or more classes, the data has one output",
                where="data",
                mend="use RegressionTask for numbers",
            )
        width = self.state_width
        check_head(head, width, n_outputs, level=_LEVEL, task="ClassificationTask")
        self._head_factory = head
        self.head_name = head_name(head, width, n_outputs)
        self.n_outputs = n_outputs
        self.head: Head | None = None
        metrics = MetricCollection(
            {
                "mcc": MatthewsCorrCoef(n_outputs),
                "accuracy": MulticlassAccuracy(n_outputs, average="micro"),
                "f1_macro": MulticlassF1Score(n_outputs, average="macro"),
                "f1_weighted": MulticlassF1Score(n_outputs, average="weighted"),
                "auroc": PresentClassesAUROC(),
            },
            compute_groups=False,
        )
        self.metrics = nn.ModuleDict({name: metrics.clone() for name in ("val", "test")})
        self.tested_rows = SumMetric()

    def setup(self, stage: str) -> None:
        super().setup(stage)
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        if getattr(data, "target_kind", None) != "classification":
            raise ConfigError(
                f"{type(data).__name__} has no classes to predict",
                where="data",
                mend="use RegressionTask for numbers, a residue task or ContactMapTask for "
                "residues, MaskedLMTask for pre-training",
            )

    def build(self) -> Head:
        self.head = build_fitting_head(
            self._head_factory,
            self.state_width,
            self.n_outputs,
            level=_LEVEL,
            task="ClassificationTask",
        )
        return self.head

    def describe(self) -> dict[str, Any]:
        return {"head": self.head_name, "n_outputs": self.n_outputs}

    def progress(self, batch: PackedBatch) -> float:
        return self.progress_in_steps()

    def forward(self, batch: LabelledBatch) -> Tensor:
        """Logits of the rows of a batch, (B, C)."""
        assert self.head is not None
        outputs: Tensor = self.head(*self.encoded(batch, pooling=self.head.pooling))
        return outputs[: len(batch.row_ids)].float()

    def training_step(self, batch: LabelledBatch, batch_idx: int) -> Tensor:
        losses = functional.cross_entropy(self(batch), batch.targets, reduction="none")  # (B,)
        rows = max(1, len(batch.row_ids))
        self.log("train_loss", losses.detach().sum() / rows, prog_bar=True, batch_size=rows)
        return summed_loss(losses, whole=batch.step_rows, scale=self.step_scale())

    def validation_step(self, batch: LabelledBatch, batch_idx: int) -> None:
        self._update("val", self(batch), batch)

    def on_validation_epoch_end(self) -> None:
        for name, value in self._compute("val").items():
            self.log(f"val_{name}", value, prog_bar=True)

    def test_step(self, batch: LabelledBatch, batch_idx: int) -> dict[str, Any]:
        logits = self(batch)
        self._update("test", logits, batch)
        self.tested_rows.update(len(batch.row_ids))
        return row_outputs(batch, logits.softmax(-1))

    def on_test_epoch_end(self) -> None:
        rows = int(self.tested_rows.compute())
        self.tested_rows.reset()
        self.scores = [
            Score(metric=name, value=value, n=rows, unit="")
            for name, value in self._compute("test").items()
        ]
        for score in self.scores:
            self.log(f"test_{score.metric}", score.value)

    def predict_step(self, batch: LabelledBatch, batch_idx: int) -> dict[str, Any]:
        return row_outputs(batch, self(batch).softmax(-1))

    def _update(self, stage: str, logits: Tensor, batch: LabelledBatch) -> None:
        metrics = self.metrics[stage]
        assert isinstance(metrics, MetricCollection)
        probabilities = logits.softmax(-1)
        if len(batch.row_ids):
            metrics.update(probabilities, batch.targets)
        else:  # a process without rows, too, takes part in gathering
            metrics["auroc"].update(probabilities, batch.targets)

    def _compute(self, stage: str) -> dict[str, float]:
        metrics = self.metrics[stage]
        assert isinstance(metrics, MetricCollection)
        values = {name: float(value) for name, value in metrics.compute().items()}
        metrics.reset()
        return values
