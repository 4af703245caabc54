"""TAPE's records as it publishes them: JSON, and LMDB of pickles.

A pickle can run any code when it is loaded, so these are read by an unpickler that knows plain
values and arrays and nothing else.
"""

from __future__ import annotations

import codecs
import io
import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from biote.errors import ConfigError, DataError

_FETCH: Final = "fetch the file anew"


def read_json(path: Path) -> list[Any]:
    """Read a JSON list.

    Args:
        path: File.

    Raises:
        DataError: If it is none.
    """
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
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
            "an LMDB, and there is no library to read it",
            where=str(path),
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
_frombuffer: Any = np.empty(1).__reduce_ex__(5)[0]
_ALLOWED: Final[dict[tuple[str, str], Any]] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): codecs.encode,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy._core.multiarray", "scalar"): _scalar,
    ("numpy.core.numeric", "_frombuffer"): _frombuffer,
    ("numpy._core.numeric", "_frombuffer"): _frombuffer,
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
