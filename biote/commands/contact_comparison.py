"""The trivial baseline beside every tested model of residue-residue contacts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import torch

from biote.baselines.separation import separation_frequencies, separation_scores
from biote.datamodules.base import Split
from biote.datamodules.contact_map import ContactMapDataModule
from biote.tasks.contact_metrics import ContactMetric
from biote.tasks.pairs import Protein, ResiduePairs, residue_pairs
from biote.tasks.results import ResultRow, write_results

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
    for length, pairs in _labelled(data, "test"):
        scores = separation_scores(frequencies, pairs.separation)
        metric.update(scores, pairs.contacts, pairs.separation, length)
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
    write_results(folder, rows)
    return rows


def _labelled(data: ContactMapDataModule, split: Split) -> Iterator[tuple[int, ResiduePairs]]:
    """Length and labelled pairs of every protein of a split."""
    for row in data.rows(split):
        protein = data.proteins[row.id]
        length = len(protein.sequence)
        one = Protein(
            row_id=row.id,
            coordinates=torch.from_numpy(protein.coordinates),
            tokens=torch.arange(length),
            n_tokens=length,
        )
        yield (
            length,
            residue_pairs(
                one,
                cutoff_angstrom=data.cutoff_angstrom,
                min_separation=data.min_separation,
            ),
        )
