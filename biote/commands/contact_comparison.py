"""The trivial baseline beside every tested model of residue-residue contacts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import torch

from biote.baselines.separation import separation_frequencies, separation_scores
from biote.datamodules.contact_map import ContactMapDataModule
from biote.datamodules.rows import Split
from biote.tasks.contact_metrics import ContactMetric
from biote.tasks.pairs import Protein, ResiduePairs, residue_pairs
from biote.tasks.results import ResultRow, prediction_frame, write_predictions, write_results

SEPARATION: Final = "contact frequency by separation"


def separation_rows(
    data: ContactMapDataModule, example: ResultRow, folder: Path
) -> list[ResultRow]:
    """Results of the baseline on the proteins that were tested; written beside them.

    Args:
        data: The data of the test.
        example: A result of the test, whose benchmark and split they share.
        folder: Run folder.
    """
    frequencies = separation_frequencies(pairs for _, pairs in _labelled(data, "train"))
    metric = ContactMetric()
    ids: list[str] = []
    targets, predictions = [torch.zeros(0)], [torch.zeros(0)]
    positions = [torch.zeros(0, 2, dtype=torch.int64)]
    for protein, pairs in _labelled(data, "test"):
        # What is trimmed is predicted to touch nothing, as it is for every model.
        kept = (protein.tokens[pairs.first] >= 0) & (protein.tokens[pairs.second] >= 0)
        scores = separation_scores(frequencies, pairs.separation) * kept
        metric.update(scores, pairs.contacts, pairs.separation, len(protein.tokens))
        ids += [protein.row_id] * len(pairs.first)
        positions.append(pairs.positions)
        targets.append(pairs.contacts.float())
        predictions.append(scores.float())
    rows = [
        replace(
            example,
            model=SEPARATION,
            head="-",
            metric=name,
            value=float(value),
            n=len(data.rows("test")),
            weights_fingerprint="",
        )
        for name, value in metric.compute().items()
    ]
    write_predictions(
        folder,
        prediction_frame(
            model=SEPARATION,
            split=data.tested_split,
            fold=data.fold,
            row_ids=ids,
            targets=torch.cat(targets),
            predictions=torch.cat(predictions),
            positions=torch.cat(positions),
        ),
    )
    write_results(folder, rows)
    return rows


def _labelled(data: ContactMapDataModule, split: Split) -> Iterator[tuple[Protein, ResiduePairs]]:
    """Every protein of a split and its labelled pairs."""
    for row in data.rows(split):
        tokens = torch.from_numpy(data.tokens_of(row))
        protein = Protein(
            row_id=row.id,
            coordinates=torch.from_numpy(data.proteins[row.id].coordinates),
            tokens=tokens,
            n_tokens=int(tokens.max()) + 1 if len(tokens) else 0,
        )
        pairs = residue_pairs(
            protein, cutoff_angstrom=data.cutoff_angstrom, min_separation=data.min_separation
        )
        yield protein, pairs
