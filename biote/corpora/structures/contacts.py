"""The Parquet table of protein residues and their distance to a nucleic acid.

Legend: L residues of a protein.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa

from biote.corpora.structures.complexes import Complex, find_complex
from biote.corpora.structures.files import Progress, Tally
from biote.corpora.structures.polymers import ReadStructure
from biote.corpora.structures.table import Row, write_table

CUTOFFS_ANGSTROM: Final = (8.0, 6.0, 4.0)

_STRAND: Final = pa.struct([("sequence", pa.string()), ("molecule", pa.string())])
CONTACT_SCHEMA: Final = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("protein", pa.string(), nullable=False),
        pa.field("nucleic", pa.list_(_STRAND), nullable=False),
        pa.field("distance", pa.list_(pa.float32()), nullable=False),
        pa.field("model", pa.int32(), nullable=False),
        pa.field("n_models", pa.int32(), nullable=False),
        pa.field("chains", pa.list_(pa.string()), nullable=False),
        pa.field("declared", pa.bool_(), nullable=False),
        pa.field("n_unresolved", pa.int32(), nullable=False),
        pa.field("n_modified", pa.int32(), nullable=False),
        pa.field("n_altloc", pa.int32(), nullable=False),
        pa.field("n_heterogeneous", pa.int32(), nullable=False),
        pa.field("n_unknown", pa.int32(), nullable=False),
        pa.field("n_mismatched", pa.int32(), nullable=False),
        pa.field("n_unplaced", pa.int32(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
    ]
)
"""Columns of the table.

- ``id`` (string): name of the file without its endings, in upper case.
- ``protein`` (string): canonical residues, L of them.
- ``nucleic`` (list of structs): sequence (ATCGN; RNA is written with T) and molecule (DNA or RNA)
  of every strand, in the order of the file.
- ``distance`` (list of float32): smallest heavy-atom distance of every residue to any nucleotide
  in angstrom, L of them; NaN where the residue is not resolved.
- ``model``, ``n_models`` (int32): number of the model that was measured, and of models there are.
- ``chains`` (list of strings): names of the protein chain and of the strands, in that order.
- ``declared`` (bool): whether the protein's sequence is the declared one, or that of the atoms.
- ``n_unresolved``, ``n_modified``, ``n_altloc``, ``n_heterogeneous``, ``n_unknown``,
  ``n_mismatched``, ``n_unplaced`` (int32): residues of the protein that are not resolved, are
  modified, have alternate locations, share their place with another, have no letter, bear another
  name than declared, have no place in the declared sequence.
- ``source`` (string): file.
"""

_COUNTS: Final = [name for name in CONTACT_SCHEMA.names if name.startswith("n_")][1:]


@dataclass(frozen=True, kw_only=True)
class ContactReport:
    """What went into a table of contacts."""

    output: Path
    ledger: Path
    tally: Tally
    residues: int
    """Residues of all proteins."""

    counts: dict[str, int]
    """Sum of every count column."""

    positive: dict[float, tuple[int, int]]
    """Residues within a distance in angstrom, and resolved ones, by that distance."""


def write_contacts(
    sources: Sequence[Path],
    output: Path,
    *,
    least_residues: int = 20,
    overwrite: bool = False,
    progress: Progress = lambda done, total: None,
) -> ContactReport:
    """Measure structures and write the table, its ledger beside it.

    Args:
        sources: Structure files, or folders of them.
        output: Parquet file to write.
        least_residues: Structures with a shorter protein are refused.
        overwrite: Whether a file that is there may be replaced.
        progress: Told the bytes read so far and the bytes there are.

    Returns:
        What was written.

    Raises:
        ConfigError: If the output is there already.
        DataError: If there is no file, or no structure can be used.
    """

    def row(read: ReadStructure, path: Path) -> Row:
        return contact_row(read, find_complex(read, least_residues=least_residues), path)

    written = write_table(
        sources,
        output,
        schema=CONTACT_SCHEMA,
        row=row,
        wanted="one protein chain with one or two nucleic chains",
        overwrite=overwrite,
        progress=progress,
    )
    rows = written.rows
    distance = np.concatenate([row["distance"] for row in rows])
    resolved = int((~np.isnan(distance)).sum())
    return ContactReport(
        output=output,
        ledger=written.ledger,
        tally=written.tally,
        residues=len(distance),
        counts={name: sum(row[name] for row in rows) for name in _COUNTS},
        positive={cut: (int((distance <= cut).sum()), resolved) for cut in CUTOFFS_ANGSTROM},
    )


def contact_row(read: ReadStructure, found: Complex, source: Path) -> Row:
    """The row of a structure, as `CONTACT_SCHEMA` describes it.

    Args:
        read: Structure.
        found: Its protein and nucleic acid.
        source: File it was read from.
    """
    protein = found.protein
    return {
        "id": read.name,
        "protein": protein.sequence,
        "nucleic": [
            {"sequence": strand.sequence, "molecule": strand.molecule.value}
            for strand in found.nucleic
        ],
        "distance": found.distance,
        "model": read.model,
        "n_models": read.n_models,
        "chains": [protein.chain, *(strand.chain for strand in found.nucleic)],
        "declared": protein.declared,
        **{name: getattr(protein, name) for name in _COUNTS},
        "source": str(source),
    }
