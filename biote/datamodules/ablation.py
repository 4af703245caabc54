"""Rows with something taken from them, to see what a model makes of the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from biote.datamodules.rows import Row
from biote.errors import ConfigError, DataError
from biote.molecules import Modality

Ablation = Literal["none", "shuffle-strands", "protein-only", "shuffle-targets"]
ABLATIONS: tuple[Ablation, ...] = ("shuffle-strands", "protein-only")
"""What can be taken from the test rows of a trained model."""


@dataclass(frozen=True, kw_only=True)
class AblationSettings:
    """What is taken from rows, and from which."""

    kind: Ablation = "none"
    """shuffle-strands: each row gets the nucleic acids of another; protein-only: none;
    shuffle-targets: training rows get the targets of others, test rows keep their own."""

    trained: bool = False
    """Whether training and validation rows are changed, too, and not test rows alone."""

    def __post_init__(self) -> None:
        if self.kind == "shuffle-targets" and not self.trained:
            raise ConfigError(
                "shuffle-targets changes training rows, and trained is false",
                where="data.ablation",
                mend="set data.ablation.trained to true",
            )

    def changes(self, *, tested: bool) -> bool:
        """Whether rows of a side of the split are changed.

        Args:
            tested: Whether they are test rows, and not training or validation rows.
        """
        if self.kind == "shuffle-targets":
            return not tested
        return tested or self.trained

    @property
    def suffix(self) -> str:
        """What stands behind the name of the tested split in results."""
        if self.kind == "shuffle-targets":
            return ", targets shuffled in training"
        names = {"none": "", "shuffle-strands": ", strands shuffled"}
        text = names.get(self.kind, ", protein only")
        return f"{text} in training, too" if text and self.trained else text


def ablated(rows: Sequence[Row], kind: Ablation, *, seed: int) -> list[Row]:
    """Rows without what an ablation takes away; ids and groups stay.

    Args:
        rows: Rows with a protein and nucleic acids.
        kind: What to take away. ``shuffle-strands`` deals the nucleic acids of the rows, with
            their molecule types, out anew, and no row keeps those of its own place;
            ``shuffle-targets`` does so with targets.
        seed: Chooses how they are dealt out.

    Raises:
        DataError: If a row has nothing but what is taken away, or there is no row to swap with.
    """
    if kind == "none":
        return list(rows)
    if kind == "shuffle-targets":
        givers = _givers(rows, seed=seed, what="targets")
        return [
            replace(row, target=rows[giver].target) for row, giver in zip(rows, givers, strict=True)
        ]
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
    givers = _givers(rows, seed=seed, what="strands")
    return [
        replace(row, parts=(*protein, *strands[giver]))
        for row, protein, giver in zip(rows, proteins, givers, strict=True)
    ]


def _givers(rows: Sequence[Row], *, seed: int, what: str) -> list[int]:
    """For every row the place of another one to take something from."""
    if len(rows) == 1:
        raise DataError(f"one row has none to swap {what} with", where=f"row {rows[0].id}")
    # Each row takes from the next in a random order: a single cycle, in which none is left alone.
    order = np.random.default_rng(seed).permutation(len(rows))
    givers = np.empty(len(rows), np.int64)
    givers[order] = np.roll(order, 1)
    return [int(giver) for giver in givers]
