"""Results of a run: one row a metric, and the predictions they were computed from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import polars as pl
import torch
from lightning import Callback, LightningModule, Trainer

from biote.atomic import atomic_path
from biote.batch import LabelledBatch
from biote.errors import DataError
from biote.modules.weights import weights_fingerprint
from biote.residue_batch import ResidueBatch
from biote.version import __version__

RESULTS_FILE = "results.parquet"
PREDICTIONS_FILE = "predictions.parquet"

POSITIONS: Final = ("position", "other_position")
"""Columns of predictions of residues, the first, and of pairs of residues, both."""

LOW: Final = "_low"
HIGH: Final = "_high"
"""Behind the name of a metric: the ends of its 95 % interval."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """One metric of one evaluation."""

    metric: str
    value: float
    n: int
    """Number of items it was computed on."""

    unit: str


@dataclass(frozen=True, kw_only=True)
class ResultRow:
    """One line of a results file."""

    benchmark: str
    split: str
    fold: int | None
    seed: int | None
    model: str
    """What made the predictions, for example ``pre-trained encoder`` or ``train mean``."""

    head: str
    metric: str
    value: float
    n: int
    unit: str
    config_hash: str
    data_fingerprint: str
    weights_fingerprint: str
    package_version: str


_IDENTITY = ["benchmark", "split", "fold", "seed", "model", "head", "metric"]
_SCHEMA = {
    "benchmark": pl.String,
    "split": pl.String,
    "fold": pl.Int64,
    "seed": pl.Int64,
    "model": pl.String,
    "head": pl.String,
    "metric": pl.String,
    "value": pl.Float64,
    "n": pl.Int64,
    "unit": pl.String,
    "config_hash": pl.String,
    "data_fingerprint": pl.String,
    "weights_fingerprint": pl.String,
    "package_version": pl.String,
}


def write_results(folder: Path, rows: Sequence[ResultRow]) -> None:
    """Add rows to the results of one run; a row of the same evaluation is replaced.

    Args:
        folder: Run folder.
        rows: New rows.
    """
    path = folder / RESULTS_FILE
    frame = pl.DataFrame([asdict(row) for row in rows], schema=_SCHEMA)
    if path.is_file():
        earlier = pl.read_parquet(path)
        # A missing fold or seed is a value like any other here.
        earlier = earlier.join(frame, on=_IDENTITY, how="anti", nulls_equal=True)
        frame = pl.concat([earlier, frame])
    _write(frame, path)


def read_results(folders: Sequence[Path]) -> pl.DataFrame:
    """Join the results of several runs.

    Args:
        folders: Run folders.

    Raises:
        DataError: If a folder has no results.
    """
    frames = []
    for folder in folders:
        path = folder / RESULTS_FILE
        if not path.is_file():
            raise DataError("no results there", where=str(path), mend="run biote test first")
        frames.append(pl.read_parquet(path))
    return pl.concat(frames)


def write_predictions(folder: Path, frame: pl.DataFrame) -> None:
    """Write the predictions of one model beside earlier ones of others.

    Args:
        folder: Run folder.
        frame: Columns model, split, fold, row_id, target, prediction.
    """
    path = folder / PREDICTIONS_FILE
    if path.is_file():
        earlier = pl.read_parquet(path)
        same = frame.select("model", "split", "fold").unique()
        earlier = earlier.join(same, on=["model", "split", "fold"], how="anti", nulls_equal=True)
        frame = pl.concat([earlier, frame], how="diagonal")
    _write(frame, path)


def _write(frame: pl.DataFrame, path: Path) -> None:
    with atomic_path(path) as partial:
        frame.write_parquet(partial)


def prediction_frame(
    *, model: str, split: str, fold: int | None, row_ids: Sequence[str],
    targets: torch.Tensor, predictions: torch.Tensor, positions: torch.Tensor | None = None,
    partners: Sequence[str] | None = None,
) -> pl.DataFrame:  # fmt: skip
    """Predictions as a table with one line per row, residue or pair of residues, and target.

    Args:
        model: What made them.
        split: Split of the rows.
        fold: Test fold, if there are folds.
        row_ids: Row ids, B of them; of residues and pairs, the id of the row each is of.
        targets: Targets in their units, (B, C) or (B,).
        predictions: Predictions in the same units, (B, C) or (B,).
        positions: Position of every residue in its sequence, from 0, (B,), or of both residues of
            every pair, (B, 2); null for whole rows.
        partners: Of rows that are compared with others, what each output is compared with, B * C
            of them, empty where there is nothing.
    """
    rows = len(row_ids)
    predictions = predictions.reshape(rows, -1)
    targets = targets.reshape(rows, -1)
    outputs = predictions.shape[1]
    frame = pl.DataFrame(
        {
            "model": [model] * (rows * outputs),
            "split": [split] * (rows * outputs),
            "fold": pl.Series([fold] * (rows * outputs), dtype=pl.Int64),
            "row_id": [row for row in row_ids for _ in range(outputs)],
            "output": list(range(outputs)) * rows,
            "target": targets.expand(rows, outputs).reshape(-1).double().numpy(),
            "prediction": predictions.reshape(-1).double().numpy(),
        },
        schema_overrides={"output": pl.Int64},
    )
    if partners is not None:
        names = pl.Series("partner", [name or None for name in partners], dtype=pl.String)
        frame.insert_column(frame.get_column_index("output") + 1, names)
    if positions is None:
        return frame
    places = positions.reshape(rows, -1).repeat_interleave(outputs, dim=0).T
    for name, place in zip(POSITIONS, places, strict=False):
        column = pl.Series(name, place.numpy(), dtype=pl.Int64)
        frame.insert_column(frame.get_column_index("output"), column)
    return frame


def row_outputs(batch: LabelledBatch, predictions: torch.Tensor) -> dict[str, Any]:
    """What a task returns from a test or predict step for `ResultsWriter` to write.

    Args:
        batch: Batch of B rows.
        predictions: Predictions in units, or class probabilities, (B, C).
    """
    return {
        "row_ids": batch.row_ids,
        "predictions": predictions.detach().float().cpu(),
        "targets": batch.targets.detach().cpu(),
    }


def residue_outputs(batch: ResidueBatch, predictions: torch.Tensor) -> dict[str, Any]:
    """What a task returns from a step over residues for `ResultsWriter` to write.

    Args:
        batch: Batch of R residues.
        predictions: Predictions in units, or probabilities, (R, C).
    """
    return {
        "row_ids": [batch.row_ids[row] for row in batch.residue_rows.tolist()],
        "predictions": predictions.detach().float().cpu(),
        "targets": batch.residue_labels.detach().cpu(),
        "positions": batch.residue_positions.cpu(),
    }


class ResultsWriter(Callback):
    """Writes ``results.parquet`` and ``predictions.parquet`` of a test into the run folder.

    Args:
        model: What is tested, as it stands in the table; null says how the encoder started.
    """

    def __init__(self, model: str | None = None) -> None:
        self._model = model
        self.rows: list[ResultRow] = []
        self._outputs: list[dict[str, Any]] = []

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._outputs = []

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._outputs = []

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if isinstance(outputs, dict):
            self._outputs.append(outputs)

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self.on_test_batch_end(trainer, pl_module, outputs, batch, batch_idx, dataloader_idx)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._write_predictions(trainer, pl_module)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the scores of the task and the predictions they were computed from."""
        self._write_predictions(trainer, pl_module)
        fingerprint = weights_fingerprint(pl_module)
        if not trainer.is_global_zero:
            return
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        task: Any = pl_module
        self.rows = [
            ResultRow(
                benchmark=data.benchmark,
                split=data.tested_split,
                fold=data.fold,
                seed=data.seed,
                model=self._model or task.label,
                head=task.head_name,
                **asdict(score),
                config_hash=task.config_hash,
                data_fingerprint=data.data_fingerprint,
                weights_fingerprint=fingerprint,
                package_version=__version__,
            )
            for score in task.scores
        ]
        write_results(Path(trainer.default_root_dir), self.rows)

    def _write_predictions(self, trainer: Trainer, task: Any) -> None:
        outputs = _gathered(self._outputs)
        if not outputs or not trainer.is_global_zero:
            return  # masked tokens are scored, not kept
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        write_predictions(
            Path(trainer.default_root_dir),
            prediction_frame(
                model=self._model or task.label,
                split=data.tested_split,
                fold=data.fold,
                row_ids=[row for output in outputs for row in output["row_ids"]],
                targets=torch.cat([output["targets"] for output in outputs]),
                predictions=torch.cat([output["predictions"] for output in outputs]),
                positions=torch.cat([output["positions"] for output in outputs])
                if "positions" in outputs[0]
                else None,
                partners=[name for output in outputs for name in output["partners"]]
                if "partners" in outputs[0]
                else None,
            ),
        )


def _gathered(outputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The outputs of all ranks, on every rank."""
    if not torch.distributed.is_available() or not torch.distributed.is_initialized():
        return outputs
    everyone: list[list[dict[str, Any]] | None] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(everyone, outputs)
    return [output for share in everyone if share is not None for output in share]
