"""The forms TAPE's tables come in: its own LMDB and JSON, and CSV.

An LMDB of TAPE holds pickled records. A pickle can run any code when it is loaded, so these are
read by an unpickler that knows plain values and arrays and nothing else.
"""

from __future__ import annotations

import codecs
import io
import json
import pickle
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from biote.datamodules.published import Record, read_labelled_csv
from biote.errors import ConfigError, DataError

_FETCH: Final = "fetch the file anew"
_Sets = Mapping[str, tuple[str, ...]]

CSV_NAMES: Final = ("{task}.{name}.csv",)
JSON_NAMES: Final = ("{task}/{task}_{name}.json", "{task}_{name}.json")
LMDB_NAMES: Final = ("{task}/{task}_{name}.lmdb", "{task}_{name}.lmdb")


def find_sets(folder: Path, task: str, names: _Sets) -> dict[str, Path] | None:
    """The files of a task, all in one form: CSV, else JSON, else LMDB.

    Args:
        folder: Folder of TAPE.
        task: Name of the task, which file names begin with.
        names: Names by which each set may be called in file names.

    Returns:
        Path of every set; None where no form has them all.
    """
    for templates in (CSV_NAMES, JSON_NAMES, LMDB_NAMES):
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
        return read_labelled_csv(path, sequence_column="seq", label_column="label")
    entries = read_json(path) if path.suffix == ".json" else read_lmdb(path)
    return (_record(entry, f"{path}, entry {i}", i, field) for i, entry in enumerate(entries))


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


def read_json(path: Path) -> list[Any]:
    """Read a JSON list.

    Args:
        path: File.

    Raises:
        DataError: If it is none.
    """
    try:
        content = json.loads(path.read_text())
    except ValueError as error:
        raise DataError(f"not JSON ({error})", where=str(path), mend=_FETCH) from error
    if not isinstance(content, list):
        raise DataError("not a list of records", where=str(path), mend=_FETCH)
    return content


def read_lmdb(path: Path) -> Iterator[Any]:
    """Read the records of an LMDB as TAPE writes them: ``num_examples``, then ``0``, ``1``, ...

    Args:
        path: LMDB folder or file.

    Yields:
        Its records in order.

    Raises:
        DataError: If it is none, lacks a record, or holds more than plain values and arrays.
        ConfigError: If the library is not installed.
    """
    try:
        import lmdb
    except ImportError as error:
        raise ConfigError(
            f"{path} is an LMDB, and there is no library to read it",
            where="data.root",
            mend="pip install 'biote[lmdb]'",
        ) from error
    try:
        environment = lmdb.open(
            str(path), readonly=True, lock=False, readahead=False, subdir=path.is_dir()
        )
    except lmdb.Error as error:
        raise DataError(f"not an LMDB ({error})", where=str(path), mend=_FETCH) from error
    try:
        with environment.begin() as transaction:
            count = _plain(transaction.get(b"num_examples"), f"{path}, num_examples")
            for number in range(int(count)):
                where = f"{path}, entry {number}"
                yield _plain(transaction.get(str(number).encode()), where)
    finally:
        environment.close()


# What numpy itself writes into a pickle, wherever this version keeps it.
_reconstruct: Any = np.empty(0).__reduce__()[0]
_scalar: Any = np.float64(0).__reduce__()[0]
_ALLOWED: Final[dict[tuple[str, str], Any]] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): codecs.encode,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy._core.multiarray", "scalar"): _scalar,
}


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str) -> Any:
        try:
            return _ALLOWED[module_name, global_name]
        except KeyError:
            raise pickle.UnpicklingError(f"{module_name}.{global_name}") from None


def _plain(value: bytes | None, where: str) -> Any:
    if value is None:
        raise DataError("not there", where=where, mend=_FETCH)
    try:
        return _PlainUnpickler(io.BytesIO(value)).load()
    except Exception as error:  # a damaged pickle raises whatever its bytes happen to ask for
        raise DataError(
            f"more than plain values and arrays, or damaged ({error})", where=where, mend=_FETCH
        ) from error
