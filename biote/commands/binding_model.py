"""A trained model of binding free energy as a function: sequences in, kcal/mol out."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch

from biote.batch import LabelledBatch
from biote.datamodules.groups import GroupEncoder, Parts
from biote.datamodules.packing import pack
from biote.errors import CheckpointError
from biote.tasks.loading import load_task
from biote.tasks.regression import RegressionTask
from biote.tokenization import resolve_tokenizer

logger = logging.getLogger(__name__)

_ROWS_AT_ONCE: Final = 16


class BindingModel:
    """A checkpoint that predicts Delta G.

    Args:
        checkpoint: File or folder that ``biote fit`` has written.
        tokenizer: What `biote.tokenization.resolve_tokenizer` takes; null takes what it was
            trained with.

    Raises:
        CheckpointError: If it is none, predicts something else, or needs another tokenizer.
    """

    def __init__(self, checkpoint: Path, tokenizer: str | None = None) -> None:
        trained = load_task(checkpoint)
        task = trained.task
        if not isinstance(task, RegressionTask) or task.n_outputs != 1:
            raise CheckpointError(
                f"{type(task).__name__} predicts no single number",
                where=str(checkpoint),
                mend="give a checkpoint of a model of Delta G",
            )
        self._task = task
        self._context = int(trained.data.get("context") or task.encoder_config.context)
        resolved = resolve_tokenizer(tokenizer or trained.data["tokenizer"])
        if resolved.fingerprint != trained.tokenizer_fingerprint:
            raise CheckpointError(
                "it was trained with another tokenizer",
                where=str(checkpoint),
                mend="give its tokenizer with --tokenizer",
            )
        self._groups = GroupEncoder(resolved, context=self._context)

    def delta_g_kcal_mol(self, rows: Sequence[Parts]) -> npt.NDArray[np.float64]:
        """Predict Delta G.

        Args:
            rows: Sequences of every row; B rows.

        Returns:
            kcal/mol, (B,).

        Raises:
            DataError: If the nucleic acids of a row do not fit the context.
        """
        predicted = [
            self._predict(rows[start : start + _ROWS_AT_ONCE], start)
            for start in range(0, len(rows), _ROWS_AT_ONCE)
        ]
        return np.concatenate(predicted)

    def trimmed(self, row: Parts) -> bool:
        """Whether a protein is cut to fit the context.

        Args:
            row: Sequences of a row.
        """
        return self._groups.trimmed(row, row="site")

    def _predict(self, rows: Sequence[Parts], first: int) -> npt.NDArray[np.float64]:
        names = [str(first + i) for i in range(len(rows))]
        groups = [self._groups.group(parts, row=n) for parts, n in zip(rows, names, strict=True)]
        batch = LabelledBatch(
            **pack([ids for ids, _ in groups], [codes for _, codes in groups]),
            targets=torch.full((len(rows), 1), torch.nan),
            row_ids=tuple(names),
            step_rows=len(rows),
        )
        with torch.inference_mode():
            outputs: torch.Tensor = self._task(batch)
        return outputs[:, 0].double().numpy()
