"""One labelled input, and what identifies many of them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from biote.molecules import Molecule

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
TargetKind = Literal["regression", "classification", "contacts", "residues"]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One labelled input."""

    id: str
    parts: tuple[tuple[str, Molecule], ...]
    """Canonical sequences in their order in the group."""

    target: tuple[float, ...]
    """Targets in their own units; of a classification, the class index alone."""

    group: str
    """Rows of one group stand on one side of every split."""

    cluster: str | None = None
    """Rows of one cluster of similar groups stand on one side, too, if clusters are known."""

    @property
    def content(self) -> tuple[object, ...]:
        """All that is the same in equal rows, in a form whose ``repr`` says it all."""
        return self.id, self.parts, *self.answer

    @property
    def answer(self) -> tuple[object, ...]:
        """What is to be predicted, in the same form."""
        return (self.target,)


def rows_fingerprint(rows: Sequence[Row]) -> str:
    """SHA-256 over ids, sequences and targets of rows.

    Args:
        rows: Rows in any order.
    """
    digest = hashlib.sha256()
    for row in sorted(rows, key=lambda row: row.id):
        digest.update(repr(row.content).encode())
    return digest.hexdigest()
