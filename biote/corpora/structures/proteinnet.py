"""TAPE's contact records (ProteinNet), as JSON or LMDB.

Legend: L residues of a protein.

A record holds ``primary`` (the sequence), ``tertiary`` (C-alpha coordinates in angstrom, (L, 3))
and ``valid_mask`` (whether a residue is resolved, (L,)). LMDB files hold records as pickles, which
can run any code when they are loaded: here they are loaded with nothing but NumPy arrays allowed.
"""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from biote.errors import ConfigError, DataError

_COUNT: Final = b"num_examples"
_ALLOWED: Final = frozenset(
    (f"numpy.{core}.{module}", name)
    for core in ("core", "_core")
    for module, name in (
        ("multiarray", "_reconstruct"),
        ("multiarray", "scalar"),
        ("numeric", "_frombuffer"),
    )
) | {("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")}


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
    records = _from_json(path) if path.suffix == ".json" else _from_lmdb(path)
    for number, record in enumerate(records):
        yield _record(record, number, path)


def _from_json(path: Path) -> Iterator[Any]:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise DataError(f"cannot be read as JSON ({error})", where=str(path)) from error
    if not isinstance(content, list):
        raise DataError("not a list of records", where=str(path), mend="give a file of TAPE")
    yield from content


def _from_lmdb(path: Path) -> Iterator[Any]:
    try:
        import lmdb
    except ImportError as error:
        raise ConfigError(
            "LMDB files need the lmdb package",
            where=str(path),
            mend="pip install 'biote[lmdb]', or give TAPE's JSON files",
        ) from error
    try:
        with (
            lmdb.open(
                str(path), subdir=path.is_dir(), readonly=True, lock=False, readahead=False
            ) as environment,
            environment.begin() as transaction,
        ):
            count = _load(transaction.get(_COUNT), path, "num_examples")
            for number in range(int(count)):
                yield _load(transaction.get(str(number).encode()), path, str(number))
    except lmdb.Error as error:
        raise DataError(f"cannot be read as LMDB ({error})", where=str(path)) from error


class _ArraysOnly(pickle.Unpickler):
    """Loads plain values and NumPy arrays; names of anything else are refused."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"{module}.{name} is no NumPy array")
        return super().find_class(module, name)


def _load(value: bytes | None, path: Path, key: str) -> Any:
    if value is None:
        raise DataError(f"no entry {key!r}", where=str(path), mend="give a file of TAPE")
    try:
        return _ArraysOnly(io.BytesIO(value)).load()
    except Exception as error:  # a pickle that is not one fails in any way
        raise DataError(f"entry {key!r} cannot be loaded ({error})", where=str(path)) from error


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
