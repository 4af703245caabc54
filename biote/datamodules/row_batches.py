"""The rows of a step as one packed batch.

Legend: B rows, C targets of a row.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.utils.data import Dataset

from biote.batch import LabelledBatch, PackedBatch
from biote.datamodules.groups import GroupEncoder, Parts, divided
from biote.datamodules.packing import Packed, pack, padding_group
from biote.datamodules.rows import Row, TargetKind
from biote.datamodules.steps import RowStep


class RowBatches(Dataset[LabelledBatch]):
    """Builds the batch of a step's rows; map-style, its keys are steps of a sampler."""

    def __init__(
        self,
        rows: Sequence[Row],
        encoder: GroupEncoder,
        kind: TargetKind,
        *,
        n_targets: int,
        nucleic_encoder: GroupEncoder | None,
    ) -> None:
        self._rows = rows
        self._encoder = encoder
        self._nucleic_encoder = nucleic_encoder
        self._kind = kind
        self._n_targets = n_targets

    def __getitem__(self, step: RowStep) -> LabelledBatch:
        rows = [self._rows[i] for i in step.rows]
        if self._nucleic_encoder is None:
            packed, nucleic = _packed(self._encoder, [(row, row.parts) for row in rows]), None
        else:
            halves = [(row, divided(row.parts, row=row.id)) for row in rows]
            packed = _packed(self._encoder, [(row, half[0]) for row, half in halves])
            second = _packed(self._nucleic_encoder, [(row, half[1]) for row, half in halves])
            nucleic = PackedBatch(**second)
        targets = torch.tensor([row.target for row in rows], dtype=torch.float64)
        targets = targets.reshape(len(rows), self._n_targets)  # (B, C)
        return LabelledBatch(
            **packed,
            nucleic=nucleic,
            targets=targets[:, 0].long() if self._kind == "classification" else targets.float(),
            row_ids=tuple(row.id for row in rows),
            step_rows=step.step_rows,
        )


def _packed(encoder: GroupEncoder, rows: Sequence[tuple[Row, Parts]]) -> Packed:
    """Groups of rows end to end; of no row, a group of padding."""
    if not rows:
        return pack(*padding_group(encoder.tokenizer))
    groups = [encoder.group(parts, row=row.id) for row, parts in rows]
    return pack([group[0] for group in groups], [group[1] for group in groups])
