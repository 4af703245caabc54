from __future__ import annotations

import json
import pickle
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
import pytest

from biote.datamodules.tape import TapeDataModule
from biote.errors import ConfigError, DataError

Entry = dict[str, Any]
SETS = {
    "train": [("MKVA", 3), ("MKLA", 1194), ("WWWW", 3)],
    "valid": [("MKLA", 1194)],
    "test_fold_holdout": [("CCDE", 0)],
    "test_superfamily_holdout": [("WWWW", 3), ("CCDF", 7)],
    "test_family_holdout": [("CCDG", 9)],
}


def entries(name: str) -> list[Entry]:
    return [
        {"primary": sequence, "fold_label": label, "protein_length": len(sequence), "id": b"d1abc"}
        for sequence, label in SETS[name]
    ]


def write_lmdb(path: Path, records: Iterable[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with lmdb.open(str(path), map_size=1 << 20) as environment:
        with environment.begin(write=True) as transaction:
            number = -1
            for number, record in enumerate(records):
                transaction.put(str(number).encode(), pickle.dumps(record))
            transaction.put(b"num_examples", pickle.dumps(number + 1))


def write(folder: Path, form: str) -> Path:
    for name in SETS:
        path = folder / "tape" / "remote_homology" / f"remote_homology_{name}.{form}"
        path.parent.mkdir(parents=True, exist_ok=True)
        if form == "json":
            content = [entry | {"id": "d1abc"} for entry in entries(name)]
            path.write_text(json.dumps(content))
        elif form == "lmdb":
            write_lmdb(path, entries(name))
        else:
            lines = [f"{sequence},{label}" for sequence, label in SETS[name]]
            path = folder / "tape" / f"remote_homology.{name}.csv"
            path.write_text("\n".join(["seq,label", *lines]) + "\n")
    return folder


def data(root: Path, task: Any = "remote_homology", **options: Any) -> TapeDataModule:
    return TapeDataModule(root, "character", task=task, batch_size=2, context=64, **options)


@pytest.mark.parametrize("form", ["csv", "json", "lmdb"])
@pytest.mark.parametrize("below", ["", "tape"])
def test_every_form_gives_the_same_rows(tmp_path: Path, form: str, below: str) -> None:
    module = data(write(tmp_path, form) / below)
    assert module.n_outputs == 1195
    read = [
        [(row.parts[0][0], row.target[0]) for row in rows]
        for rows in (module.rows("train"), module.rows("validation"))
    ]
    assert read == [SETS["train"], SETS["valid"]]
    assert module.rows("test")[0].parts[0][0] == "CCDE"
    assert module.tested_split == "fold_holdout"


def test_what_is_trained_on_does_not_follow_the_form_of_what_is_tested(tmp_path: Path) -> None:
    write(write(tmp_path, "csv"), "json")
    (tmp_path / "tape" / "remote_homology.test_family_holdout.csv").unlink()
    other = write(tmp_path / "other", "lmdb")
    found = {
        data(root, test_set=name).split_fingerprint
        for root, name in (
            (tmp_path, "fold_holdout"), (tmp_path, "family_holdout"), (other, "family_holdout"),
        )
    }  # fmt: skip
    assert len(found) == 1  # whatever the form: rows are numbered alike


@pytest.mark.parametrize("form", ["csv", "lmdb"])
def test_every_test_set_is_of_the_same_training(tmp_path: Path, form: str) -> None:
    write(tmp_path, form)
    for options in ({}, {"drop_leaks": True}):
        modules = [
            data(tmp_path, test_set=name, **options)
            for name in ("fold_holdout", "superfamily_holdout", "family_holdout")
        ]
        assert [row.parts[0][0] for module in modules for row in module.rows("test")] == [
            "CCDE", "WWWW", "CCDF", "CCDG",
        ]  # fmt: skip
        assert len({module.split_fingerprint for module in modules}) == 1
        assert len({module.data_fingerprint for module in modules}) == 3
    # Leaks into any of the three test sets are dropped, whichever is tested.
    assert [row.parts[0][0] for row in data(tmp_path, drop_leaks=True).rows("train")] == ["MKVA"]


@pytest.mark.parametrize(
    ("task", "field"), [("stability", "stability_score"), ("fluorescence", "log_fluorescence")]
)
@pytest.mark.parametrize("label", [[1.25], np.array([1.25], np.float32), np.float32(1.25)])
def test_numbers_are_lists_or_arrays_of_one(
    tmp_path: Path, task: str, field: str, label: Any
) -> None:
    for name in ("train", "valid", "test"):
        path = tmp_path / "tape" / task / f"{task}_{name}.lmdb"
        write_lmdb(path, [{"primary": "MKV" + "ACD"[len(name) % 3], field: label}])
    module = data(tmp_path, task)
    assert module.rows("test")[0].target == (1.25,)
    assert (module.target_kind, module.n_outputs) == ("regression", 1)


class Evil:
    """Would leave a file behind when loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


def test_a_pickle_runs_no_code(tmp_path: Path) -> None:
    write(tmp_path, "lmdb")
    left = tmp_path / "left"
    folder = tmp_path / "tape" / "remote_homology"
    write_lmdb(folder / "remote_homology_train.lmdb", [Evil(left)])
    with pytest.raises(DataError, match=r"train\.lmdb, entry 0: more than plain values"):
        data(tmp_path).rows("train")
    assert not left.exists()


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"primary": "MK"}, r"entry 0: no field 'fold_label'"),
        ({"fold_label": 1}, r"entry 0: no field 'primary'"),
        ({"primary": "MK", "fold_label": 1195}, r"entry 0: label '1195' is no class; .*1194"),
        ({"primary": "MK", "fold_label": [1, 2]}, r"entry 0: fold_label is \[1, 2\]"),
        ({"primary": "M1", "fold_label": 1}, r"entry 0: character '1' at position 2"),
        ({"primary": "", "fold_label": 1}, r"entry 0: no sequence"),
    ],
)
def test_a_bad_record_is_named(tmp_path: Path, entry: Entry, said: str) -> None:
    write(tmp_path, "json")
    path = tmp_path / "tape" / "remote_homology" / "remote_homology_train.json"
    path.write_text(json.dumps([entry]))
    with pytest.raises(DataError, match=said):
        data(tmp_path).rows("train")


def test_a_label_that_is_no_number_is_named(tmp_path: Path) -> None:
    (tmp_path / "tape").mkdir()
    for name in ("train", "valid", "test"):
        (tmp_path / "tape" / f"stability.{name}.csv").write_text("seq,label\nMKV,1\nMKL,nan\n")
    with pytest.raises(DataError, match=r"stability\.train\.csv:3: label 'nan' is no finite"):
        data(tmp_path, "stability").rows("train")


def test_missing_data_name_the_command(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="biote download tape-fluorescence --output"):
        data(tmp_path, "fluorescence").locate()
    (tmp_path / "tape").mkdir()
    (tmp_path / "tape" / "fluorescence.tar.gz").touch()
    with pytest.raises(DataError, match=r"tar -xzf \S+tape/fluorescence\.tar\.gz -C \S+/tape"):
        data(tmp_path, "fluorescence").locate()


def test_a_test_set_of_another_task_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"stability has no test set 'fold_holdout'; .* test"):
        data(tmp_path, "stability", test_set="fold_holdout")


def test_real_counts(real_data: Path) -> None:
    counts = {
        task: [len(data(real_data, task).rows(s)) for s in ("train", "validation", "test")]
        for task in ("stability", "remote_homology")
    }
    assert counts["stability"] == [53614, 2512, 12851]
    assert counts["remote_homology"] == [12312, 736, 718]
    homology = data(real_data)
    assert len({row.target for row in homology.rows("train")}) == 1195
