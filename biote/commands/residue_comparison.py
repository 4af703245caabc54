"""Trivial baselines beside every model of residue labels, on the same residues."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from biote.alignment import NO_TOKEN
from biote.baselines.residues import LabelledSequence, residue_baselines
from biote.datamodules.residues import ResidueDataModule, ResidueRow
from biote.tasks.residue_metrics import METRICS
from biote.tasks.results import ResultRow, prediction_frame, write_predictions, write_results


def residue_rows(data: ResidueDataModule, example: ResultRow, folder: Path) -> list[ResultRow]:
    """Results of the trivial baselines on the residues that were tested; written beside them.

    Args:
        data: The data of the test.
        example: A result of the test, whose benchmark and split they share.
        folder: Run folder.
    """
    test = data.residue_rows("test")
    predictions = residue_baselines(
        [_labelled(row) for row in data.residue_rows("train")],
        [_labelled(row) for row in test],
        kind=data.residue_kind,
        n_outputs=data.n_outputs,
        seed=data.seed,
    )
    # Residues at trimmed ends are scored for no model, so for no baseline either.
    scored = np.concatenate([data.tokens_of(row) != NO_TOKEN for row in test])
    labels = torch.from_numpy(np.concatenate([row.labels for row in test])[scored])
    row_ids = [row.id for row in test for _ in row.labels]
    positions = np.concatenate([np.arange(len(row.labels)) for row in test])
    known = ~labels.isnan().any(-1)
    rows: list[ResultRow] = []
    for name, every in predictions.items():
        predicted = torch.from_numpy(every[scored])
        metrics = METRICS[data.residue_kind](data.n_outputs)
        metrics.update(predicted[known], labels[known])
        rows += [
            replace(
                example,
                model=name,
                head="-",
                metric=metric,
                value=value,
                n=int(known.sum()),
                unit=data.unit if metric.split("_")[0] == "mae" else "",
                weights_fingerprint="",
            )
            for metric, value in metrics.compute(data.output_names).items()
        ]
        write_predictions(
            folder,
            prediction_frame(
                model=name,
                split=data.tested_split,
                fold=data.fold,
                row_ids=[row_id for row_id, kept in zip(row_ids, scored, strict=True) if kept],
                targets=labels,
                predictions=predicted,
                positions=torch.from_numpy(positions[scored]),
            ),
        )
    write_results(folder, rows)
    return rows


def _labelled(row: ResidueRow) -> LabelledSequence:
    return LabelledSequence(row.parts[row.labelled][0], row.labels, row.group)
