"""TAPE's contact records (ProteinNet), as JSON or LMDB.

Legend: L residues of a protein.

A record holds ``primary`` (the sequence), ``tertiary`` (C-alpha coordinates in angstrom, (L, 3))
and ``valid_mask`` (whether a residue is resolved, (L,)).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from biote.corpora.tape_records import read_json, read_lmdb
from biote.errors import DataError


@dataclass(frozen=True, kw_only=True, eq=False)
class ProteinNetRecord:
    """One protein of TAPE's contact task."""

    id: str
    sequence: str
    coordinates: npt.NDArray[np.float32]
    """C-alpha coordinates in angstrom, (L, 3), NaN where a residue is not valid."""


def read_records(path: Path) -> Iterator[ProteinNetRecord]:
    """Yield the records of a file in order.

    Args:
        path: ``.json`` file, or LMDB (a folder or a file ending in ``.lmdb``).

    Raises:
        ConfigError: If the lmdb package is not installed.
        DataError: If the file or a record is not what the format promises.
    """
    records = read_json(path) if path.suffix == ".json" else read_lmdb(path)
    for number, record in enumerate(records):
        yield _record(record, number, path)


def _record(record: Any, number: int, path: Path) -> ProteinNetRecord:
    where = f"{path}, record {number}"
    if not isinstance(record, Mapping):
        raise DataError("not a record of named fields", where=where, mend="give a file of TAPE")
    for name in ("primary", "tertiary", "valid_mask"):
        if name not in record:
            raise DataError(f"no field {name!r}", where=where, mend="give TAPE's proteinnet files")
    sequence = record["primary"]
    sequence = sequence.decode("ascii", "replace") if isinstance(sequence, bytes) else str(sequence)
    try:
        places = np.array(record["tertiary"], np.float32)
        valid = np.array(record["valid_mask"]).astype(bool)
    except (TypeError, ValueError) as error:
        raise DataError(f"tertiary or valid_mask is no array ({error})", where=where) from error
    if places.shape != (len(sequence), 3) or valid.shape != (len(sequence),):
        raise DataError(
            f"{len(sequence)} residues with coordinates of shape {places.shape} and a mask of "
            f"shape {valid.shape}",
            where=where,
            mend="give three coordinates and one flag a residue",
        )
    places[~valid] = np.nan
    name = record.get("id", str(number))
    name = name.decode("ascii", "replace") if isinstance(name, bytes) else str(name)
    return ProteinNetRecord(id=name, sequence=sequence, coordinates=places)
