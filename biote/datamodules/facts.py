"""What scoring needs to know of rows beside their targets: protein, input, side of the split."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import polars as pl

from biote.molecules import Modality, Molecule

Parts = Sequence[tuple[str, Molecule]]


def input_key(parts: Parts) -> str:
    """A key that rows share whose proteins are the same in order, and strands in any order.

    Args:
        parts: Canonical sequences of a row.
    """
    proteins = [part for part in parts if part[1].modality is Modality.PROTEIN]
    strands = sorted(part for part in parts if part[1].modality is Modality.NUCLEIC)
    return _key([*proteins, *strands])


def protein_key(parts: Parts) -> str:
    """A key that rows share whose proteins are the same; of a row without one, empty.

    Args:
        parts: Canonical sequences of a row.
    """
    proteins = [part for part in parts if part[1].modality is Modality.PROTEIN]
    return _key(proteins) if proteins else ""


def _key(parts: Parts) -> str:
    text = "\n".join(f"{molecule.value}:{sequence}" for sequence, molecule in parts)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def facts_frame(
    row_ids: Sequence[str],
    parts: Sequence[Parts],
    *,
    groups: Sequence[str],
    clusters: Sequence[str | None],
    splits: Sequence[str],
) -> pl.DataFrame:
    """The table of row facts.

    Args:
        row_ids: Id of every row.
        parts: Sequences of every row.
        groups: What of every row stays on one side of the split.
        clusters: Groups of similar ones that stay on one side, too, where they are known.
        splits: Its side.

    Returns:
        Columns row_id, split, group, cluster, protein, input.
    """
    content: Mapping[str, Sequence[str | None]] = {
        "row_id": list(row_ids),
        "split": list(splits),
        "group": list(groups),
        "cluster": list(clusters),
        "protein": [protein_key(row) for row in parts],
        "input": [input_key(row) for row in parts],
    }
    return pl.DataFrame(content, schema=dict.fromkeys(content, pl.String))
