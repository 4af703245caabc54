"""The forms TAPE's tables come in: its own LMDB and JSON, and CSV."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from biote.corpora.tape_records import read_json, read_lmdb
from biote.datamodules.published import Record, missing_data, read_labelled_csv
from biote.errors import DataError

_FETCH: Final = "fetch the file anew"
_Sets = Mapping[str, tuple[str, ...]]

CSV_NAMES: Final = ("{task}.{name}.csv",)
JSON_NAMES: Final = ("{task}/{task}_{name}.json", "{task}_{name}.json")
LMDB_NAMES: Final = ("{task}/{task}_{name}.lmdb", "{task}_{name}.lmdb")


def find_sets(folder: Path, task: str, names: _Sets, *, csv: bool = True) -> dict[str, Path] | None:
    """The files of a task, all in one form: CSV, else JSON, else LMDB.

    Args:
        folder: Folder of TAPE.
        task: Name of the task, which file names begin with.
        names: Names by which each set may be called in file names.
        csv: Whether CSV files are looked for.

    Returns:
        Path of every set; None where no form has them all.
    """
    for templates in (*((CSV_NAMES,) if csv else ()), JSON_NAMES, LMDB_NAMES):
        found = {
            key: path
            for key, called in names.items()
            for path in _existing(folder, task, templates, called)
        }
        if len(found) == len(names):
            return found
    return None


def _existing(
    folder: Path, task: str, templates: Iterable[str], called: Iterable[str]
) -> Iterator[Path]:
    paths = (folder / t.format(task=task, name=name) for name in called for t in templates)
    yield from [path for path in paths if path.exists()][:1]


def missing_set(expected: Path, *, folder: Path, task: str, root: Path) -> DataError:
    """The error for a set that is not there: what fetches it, or unpacks it.

    Args:
        expected: The file.
        folder: Folder of TAPE.
        task: Name of the task, which its archive has.
        root: Folder the user gave as ``data.root``.
    """
    packed = folder / f"{task}.tar.gz"
    if packed.is_file():
        return DataError(
            f"no file {expected}",
            where="data.root",
            mend=f"unpack it with: tar -xzf {packed} -C {folder}",
        )
    return missing_data(expected, root=root, dataset=f"tape-{task.replace('_', '-')}")


def read_tape(path: Path, *, field: str) -> Iterable[Record]:
    """Read one set of a task with one label a sequence.

    Args:
        path: CSV file with the columns ``seq`` and ``label``, JSON list of objects, or LMDB
            folder; of the latter two the sequence is in ``primary``.
        field: Field of the label in JSON and LMDB.

    Returns:
        Records with the label as text.

    Raises:
        DataError: If the file is damaged or a field is missing.
        ConfigError: If it is an LMDB and the library for it is not installed.
    """
    if path.suffix == ".csv":
        return read_tape_csv(path)
    entries = read_json(path) if path.suffix == ".json" else read_lmdb(path)
    return (_record(entry, f"{path}, entry {i}", i, field) for i, entry in enumerate(entries))


def read_tape_csv(path: Path) -> Iterator[Record]:
    """Read a CSV file with the columns ``seq`` and ``label``; records are counted from 0.

    Every form of a set gives the same numbers, and so the same row ids.

    Args:
        path: CSV file.

    Raises:
        DataError: If the file is damaged.
    """
    records = read_labelled_csv(path, sequence_column="seq", label_column="label")
    for number, record in enumerate(records):
        yield replace(record, number=number)


def _record(entry: Any, where: str, number: int, field: str) -> Record:
    for name in ("primary", field):
        if not isinstance(entry, dict) or name not in entry:
            raise DataError(
                f"no field {name!r}", where=where, mend=f"TAPE's fields are primary and {field}"
            )
    label = np.asarray(entry[field])
    if label.size != 1 or label.dtype.kind not in "iuf":
        raise DataError(
            f"{field} is {entry[field]!r}", where=where, mend="it holds one number: " + _FETCH
        )
    sequence = entry["primary"]
    if not isinstance(sequence, str):
        raise DataError("primary is no text", where=where, mend=_FETCH)
    return Record(where, number, sequence, repr(label.reshape(-1)[0].item()))
