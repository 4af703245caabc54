"""Rows with something taken from them, to see what a model makes of the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from biote.datamodules.rows import Row
from biote.errors import DataError
from biote.molecules import Modality

Ablation = Literal["none", "shuffle-strands", "protein-only"]
ABLATIONS: tuple[Ablation, ...] = ("shuffle-strands", "protein-only")


@dataclass(frozen=True, kw_only=True)
class AblationSettings:
    """What is taken from rows, and from which."""

    kind: Ablation = "none"
    """shuffle-strands: each row gets the nucleic acids of another; protein-only: none."""

    trained: bool = False
    """Whether training and validation rows are changed, too, and not test rows alone."""

    @property
    def suffix(self) -> str:
        """What stands behind the name of the tested split in results."""
        names = {"none": "", "shuffle-strands": ", strands shuffled"}
        text = names.get(self.kind, ", protein only")
        return f"{text} in training, too" if text and self.trained else text


def ablated(rows: Sequence[Row], kind: Ablation, *, seed: int) -> list[Row]:
    """Rows without what an ablation takes away; ids, targets and groups stay.

    Args:
        rows: Rows with a protein and nucleic acids.
        kind: What to take away. ``shuffle-strands`` deals the nucleic acids of the rows, with
            their molecule types, out anew, and no row keeps those of its own place.
        seed: Chooses how they are dealt out.

    Raises:
        DataError: If a row has nothing but what is taken away, or there is no row to swap with.
    """
    if kind == "none":
        return list(rows)
    proteins = [tuple(p for p in row.parts if p[1].modality is Modality.PROTEIN) for row in rows]
    strands = [tuple(p for p in row.parts if p[1].modality is Modality.NUCLEIC) for row in rows]
    for row, protein, nucleic in zip(rows, proteins, strands, strict=True):
        if not protein or not nucleic:
            raise DataError(
                "an ablation needs a protein and a nucleic acid",
                where=f"row {row.id}",
                mend="set data.ablation.kind to none",
            )
    if kind == "protein-only":
        return [replace(row, parts=protein) for row, protein in zip(rows, proteins, strict=True)]
    if len(rows) == 1:
        raise DataError("one row has none to swap strands with", where=f"row {rows[0].id}")
    # Each row takes from the next in a random order: a single cycle, in which none is left alone.
    order = np.random.default_rng(seed).permutation(len(rows))
    giver = np.empty(len(rows), np.int64)
    giver[order] = np.roll(order, 1)
    return [replace(row, parts=(*proteins[i], *strands[giver[i]])) for i, row in enumerate(rows)]
