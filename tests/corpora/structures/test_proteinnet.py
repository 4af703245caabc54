from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
import pytest

from biote.corpora.structures.proteinnet import read_records
from biote.errors import DataError

PLACES = np.arange(12, dtype=np.float32).reshape(4, 3) / 8
VALID = np.array([True, False, True, True])


def record(**changes: Any) -> dict[str, Any]:
    return {
        "id": b"1ABC_1_A",
        "primary": "MKVL",
        "protein_length": 4,
        "evolutionary": np.zeros((4, 21), np.float32),
        "tertiary": PLACES,
        "valid_mask": VALID,
    } | changes


def write_lmdb(path: Path, values: dict[bytes, bytes], *, subdir: bool = True) -> Path:
    with (
        lmdb.open(str(path), map_size=1 << 20, subdir=subdir) as environment,
        environment.begin(write=True) as transaction,
    ):
        for key, value in values.items():
            transaction.put(key, value)
    return path


@pytest.mark.parametrize("subdir", [True, False])
@pytest.mark.parametrize("protocol", [2, 4])
def test_lmdb_records(tmp_path: Path, subdir: bool, protocol: int) -> None:
    records = [record(), record(id="2ABC", primary=b"MKVL", valid_mask=VALID.tolist())]
    values = {str(i).encode(): pickle.dumps(r, protocol) for i, r in enumerate(records)}
    values[b"num_examples"] = pickle.dumps(2)
    one, two = read_records(write_lmdb(tmp_path / "x.lmdb", values, subdir=subdir))
    assert (one.id, one.sequence, two.id, two.sequence) == ("1ABC_1_A", "MKVL", "2ABC", "MKVL")
    for found in (one, two):
        assert np.isnan(found.coordinates[1]).all()
        np.testing.assert_array_equal(found.coordinates[VALID], PLACES[VALID])


def test_json_records(tmp_path: Path) -> None:
    plain = record(id="1ABC", tertiary=PLACES.tolist(), valid_mask=VALID.astype(int).tolist())
    del plain["evolutionary"]
    path = tmp_path / "x.json"
    path.write_text(json.dumps([plain]))
    (found,) = read_records(path)
    assert found.sequence == "MKVL"
    assert np.isnan(found.coordinates).all(1).tolist() == (~VALID).tolist()


class Harmful:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def test_a_pickle_runs_no_code(tmp_path: Path) -> None:
    values = {b"num_examples": pickle.dumps(1), b"0": pickle.dumps(Harmful(tmp_path / "made"))}
    path = write_lmdb(tmp_path / "x.lmdb", values)
    with pytest.raises(DataError, match=r"entry 0: more than plain .*mkdir"):
        list(read_records(path))
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tertiary": PLACES[:3]}, r"record 0: 4 residues with coordinates of shape \(3, 3\)"),
        ({"valid_mask": VALID[:2]}, r"a mask of shape \(2,\)"),
        ({"tertiary": [["a"]]}, "tertiary or valid_mask is no array"),
    ],
)
def test_records_that_do_not_fit_are_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    values = {b"num_examples": pickle.dumps(1), b"0": pickle.dumps(record(**changes))}
    with pytest.raises(DataError, match=message):
        list(read_records(write_lmdb(tmp_path / "x.lmdb", values)))


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = write_lmdb(tmp_path / "x.lmdb", {b"num_examples": pickle.dumps(2), b"0": b"junk"})
    with pytest.raises(DataError, match="entry 0: more than plain values and arrays, or damaged"):
        list(read_records(path))
    bare = write_lmdb(tmp_path / "y.lmdb", {b"a": b"b"})
    with pytest.raises(DataError, match="num_examples: not there"):
        list(read_records(bare))
    other = tmp_path / "z.json"
    other.write_text('{"primary": "MKVL"}')
    with pytest.raises(DataError, match="not a list of records"):
        list(read_records(other))
    other.write_text('[{"primary": "MKVL"}]')
    with pytest.raises(DataError, match="record 0: no field 'tertiary'"):
        list(read_records(other))
