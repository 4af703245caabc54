"""Proteins with C-alpha coordinates from files: biote's table, or TAPE's records.

Legend: L residues of a protein.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from biote.corpora.structures.proteinnet import read_records
from biote.errors import DataError
from biote.molecules import Molecule, canonical_sequence

_COLUMNS: Final = ["id", "sequence", "coordinates"]


@dataclass(frozen=True, kw_only=True, eq=False)
class ProteinMap:
    """One protein and where its residues are."""

    id: str
    sequence: str
    """Canonical residues, L of them."""

    coordinates: npt.NDArray[np.float32]
    """C-alpha coordinates in angstrom, (L, 3), NaN where a residue is not resolved."""

    group: str
    """Proteins of one group stand on one side of every split."""


def read_maps(path: Path, *, group_column: str | None = None) -> list[ProteinMap]:
    """Read proteins with coordinates.

    Args:
        path: Table of ``biote corpus maps``, or TAPE's contact records as JSON or LMDB.
        group_column: Column of the table that names every protein's group; null groups by
            sequence.

    Raises:
        DataError: If the file is no such table, an id occurs twice, or coordinates and sequence
            differ in length.
    """
    rows = _table(path, group_column) if path.suffix == ".parquet" else _tape(path)
    maps: list[ProteinMap] = []
    seen: set[str] = set()
    for name, sequence, coordinates, group in rows:
        where = f"{path}, {name}"
        if name in seen:
            raise DataError("the id occurs twice", where=where, mend="give every protein its own")
        seen.add(name)
        canonical = canonical_sequence(sequence, Molecule.PROTEIN, record=where)
        if len(canonical) * 3 != coordinates.size:
            raise DataError(
                f"{coordinates.size} coordinates for {len(canonical)} residues",
                where=where,
                mend="give x, y and z of every residue, NaN where it is not resolved",
            )
        places = coordinates.reshape(-1, 3).astype(np.float32)
        places[~np.isfinite(places).all(axis=1)] = np.nan
        group = canonical if group is None else group
        maps.append(ProteinMap(id=name, sequence=canonical, coordinates=places, group=group))
    return maps


def maps_fingerprint(maps: list[ProteinMap]) -> str:
    """SHA-256 over ids, sequences and coordinates.

    Args:
        maps: Proteins in any order.
    """
    digest = hashlib.sha256()
    for protein in sorted(maps, key=lambda protein: protein.id):
        digest.update(f"{protein.id}\n{protein.sequence}\n".encode())
        digest.update(protein.coordinates.astype("<f4").tobytes())
    return digest.hexdigest()


_Values = tuple[str, str, npt.NDArray[np.float32], str | None]


def _table(path: Path, group_column: str | None) -> Iterator[_Values]:
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        first = str(error).partition("\n")[0]
        raise DataError(f"cannot be read ({first})", where=str(path)) from error
    for name in [*_COLUMNS, *([group_column] if group_column is not None else [])]:
        if name not in table.column_names:
            raise DataError(
                f"no column {name!r}",
                where=str(path),
                mend=f"make it with biote corpus maps; its columns are {table.column_names}",
            )
    groups = [None] * len(table) if group_column is None else table[group_column].to_pylist()
    for name, sequence, coordinates, group in zip(
        *(table[column] for column in _COLUMNS), groups, strict=True
    ):
        values = coordinates.values.to_numpy(zero_copy_only=False)
        if group_column is not None and group is None:
            raise DataError(f"no value in column {group_column!r}", where=f"{path}, {name}")
        group = None if group is None else str(group)
        yield str(name), str(sequence), np.asarray(values, np.float32), group


def _tape(path: Path) -> Iterator[_Values]:
    for record in read_records(path):
        yield record.id, record.sequence, record.coordinates.ravel(), None
