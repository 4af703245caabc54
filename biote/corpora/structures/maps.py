"""The Parquet table of C-alpha coordinates of single protein chains.

Legend: L residues of a protein.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from biote.corpora.structures.complexes import only_protein
from biote.corpora.structures.files import Progress, Tally
from biote.corpora.structures.polymers import Polymer, ReadStructure
from biote.corpora.structures.residues import heavy_atoms
from biote.corpora.structures.table import Row, write_table
from biote.corpora.structures.unusable import UnusableStructure
from biote.molecules import Modality

CONTACT_ANGSTROM: Final = 8.0
"""Residues are in contact if their C-alpha atoms are nearer than this."""

MAP_SCHEMA: Final = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("sequence", pa.string(), nullable=False),
        pa.field("coordinates", pa.list_(pa.float32()), nullable=False),
        pa.field("chain", pa.string(), nullable=False),
        pa.field("model", pa.int32(), nullable=False),
        pa.field("n_unresolved", pa.int32(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
    ]
)
"""Columns of the table.

- ``id`` (string): name of the file without its endings, in upper case.
- ``sequence`` (string): canonical residues, L of them.
- ``coordinates`` (list of float32): x, y and z of every residue's C-alpha atom in angstrom, 3 L
  numbers; NaN where there is none.
- ``chain`` (string): name of the chain.
- ``model`` (int32): number of the model.
- ``n_unresolved`` (int32): residues without C-alpha atom.
- ``source`` (string): file.
"""


@dataclass(frozen=True, kw_only=True)
class MapReport:
    """What went into a table of coordinates."""

    output: Path
    ledger: Path
    tally: Tally
    residues: int
    unresolved: int
    pairs: int
    """Pairs of resolved residues at least the separation apart that was asked for."""

    contacts: int
    """Pairs of them in contact."""


def write_maps(
    sources: Sequence[Path],
    output: Path,
    *,
    least_residues: int = 20,
    min_separation: int = 12,
    overwrite: bool = False,
    progress: Progress = lambda done, total: None,
) -> MapReport:
    """Read single protein chains and write the table, its ledger beside it.

    Args:
        sources: Structure files, or folders of them.
        output: Parquet file to write.
        least_residues: Structures with a shorter protein are refused.
        min_separation: Pairs nearer in sequence are not counted in the report.
        overwrite: Whether a file that is there may be replaced.
        progress: Told the bytes read so far and the bytes there are.

    Returns:
        What was written.

    Raises:
        ConfigError: If the output is there already.
        DataError: If there is no file, or no structure can be used.
    """

    def row(read: ReadStructure, path: Path) -> Row:
        if any(polymer.modality is Modality.NUCLEIC for polymer in read.polymers):
            raise UnusableStructure("nucleic chain beside the protein")
        return _row(read, only_protein(read, least_residues=least_residues), path)

    written = write_table(
        sources,
        output,
        schema=MAP_SCHEMA,
        row=row,
        wanted="a single protein chain",
        overwrite=overwrite,
        progress=progress,
    )
    rows = written.rows
    counts = [_contacts(row["coordinates"], min_separation) for row in rows]
    return MapReport(
        output=output,
        ledger=written.ledger,
        tally=written.tally,
        residues=sum(len(row["sequence"]) for row in rows),
        unresolved=sum(row["n_unresolved"] for row in rows),
        pairs=sum(pairs for pairs, _ in counts),
        contacts=sum(contacts for _, contacts in counts),
    )


def alpha_coordinates(protein: Polymer) -> npt.NDArray[np.float32]:
    """C-alpha coordinates of a protein's residues.

    Args:
        protein: Chain of L residues.

    Returns:
        Angstrom, (L, 3); NaN where a residue has no C-alpha atom.
    """
    places = np.full((len(protein.residues), 3), np.nan, np.float32)
    for i, residue in enumerate(protein.residues):
        for atom in heavy_atoms(residue) if residue is not None else []:
            if atom.name == "CA":
                places[i] = atom.pos.tolist()
    return places


def _row(read: ReadStructure, protein: Polymer, source: Path) -> Row:
    coordinates = alpha_coordinates(protein)
    if np.isnan(coordinates).all():
        raise UnusableStructure("no C-alpha atom")
    return {
        "id": read.name,
        "sequence": protein.sequence,
        "coordinates": coordinates.ravel(),
        "chain": protein.chain,
        "model": read.model,
        "n_unresolved": int(np.isnan(coordinates[:, 0]).sum()),
        "source": str(source),
    }


def _contacts(coordinates: npt.NDArray[np.float32], separation: int) -> tuple[int, int]:
    places = coordinates.reshape(-1, 3).astype(np.float64)
    pairs = contacts = 0
    for i in range(len(places) - separation):
        distance = np.linalg.norm(places[i + separation :] - places[i], axis=1)
        pairs += int((~np.isnan(distance)).sum())
        contacts += int((distance < CONTACT_ANGSTROM).sum())
    return pairs, contacts
