from __future__ import annotations

import json
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
import polars as pl
import pytest
import torch

from biote.datamodules.base import LabelledDataModule
from biote.datamodules.contacts import ContactsDataModule
from biote.datamodules.dna_binding import DnaBindingDataModule
from biote.datamodules.proteinglue import ProteinGlueDataModule
from biote.datamodules.residue_table import ResidueTableDataModule
from biote.datamodules.residues import ResidueDataModule
from biote.datamodules.secondary_structure import SecondaryStructureDataModule
from biote.errors import DataError


def labels_of(data: ResidueDataModule, split: Any = "train") -> dict[str, list[float]]:
    return {row.id: row.labels[:, 0].tolist() for row in data.residue_rows(split)}


def secondary_structure(root: Path, **options: Any) -> SecondaryStructureDataModule:
    return SecondaryStructureDataModule(
        root, "character", **({"states": 3, "batch_size": 4} | options)
    )


def write_tape(folder: Path, form: str) -> None:
    """Two records a set in a form of TAPE."""
    folder.mkdir(parents=True)
    for number, name in enumerate(("train", "valid", "cb513", "casp12", "ts115")):
        records: list[dict[str, Any]] = [
            {"primary": "ACDEF"[number] * 3, "ss3": [0, 1, 2], "ss8": [1, 4, 7]},
            {"primary": "GHIKL"[number] * 2, "ss3": [2, -1], "ss8": [7, -1]},
        ]
        if form == "json":
            (folder / f"secondary_structure_{name}.json").write_text(json.dumps(records))
            continue
        for record in records:
            record |= {"ss3": np.array(record["ss3"]), "ss8": np.array(record["ss8"])}
        path = str(folder / f"secondary_structure_{name}.lmdb")
        with (
            lmdb.open(path, map_size=2**20) as environment,
            environment.begin(write=True) as written,
        ):
            written.put(b"num_examples", pickle.dumps(len(records)))
            for i, record in enumerate(records):
                written.put(str(i).encode(), pickle.dumps(record))


@pytest.mark.parametrize("form", ["json", "lmdb"])
@pytest.mark.parametrize("states", [3, 8])
def test_secondary_structure_in_tapes_own_forms(tmp_path: Path, form: str, states: int) -> None:
    write_tape(tmp_path / "tape" / "secondary_structure", form)
    prints = set()
    for test_set, letter in (("cb513", "D"), ("casp12", "E"), ("ts115", "F")):
        data = secondary_structure(tmp_path, states=states, test_set=test_set)
        expected = {3: [[0, 1, 2], [2]], 8: [[1, 4, 7], [7]]}[states]
        assert next(iter(labels_of(data).values())) == expected[0]
        assert list(labels_of(data).values())[1][0] == expected[1][0]
        assert np.isnan(list(labels_of(data).values())[1][1])  # -1 is no label
        assert data.rows("test")[0].parts[0][0] == letter * 3
        prints.add(data.split_fingerprint)
        assert data.tested_split == test_set
    assert len(prints) == 1  # one checkpoint can be tested on all of them


def test_secondary_structure_of_the_real_tables(real_data: Path) -> None:
    data = secondary_structure(real_data, train_on="valid", drop_leaks=True)
    test = labels_of(data, "test")
    assert len(test) == 513
    assert [len(row.parts[0][0]) for row in data.rows("test")] == list(map(len, test.values()))
    assert set(np.concatenate(list(test.values()))) == {0, 1, 2}
    assert data.benchmark == "tape/ss3 (trained on valid)"
    groups = {split: {row.group for row in data.rows(split)} for split in ("train", "test")}
    assert not groups["train"] & groups["test"]


def test_dna_binding_of_the_real_chains(real_data: Path) -> None:
    data = DnaBindingDataModule(real_data, "character", batch_size=8)
    rows = [*data.residue_rows("train"), *data.residue_rows("validation")]
    labels = np.concatenate([row.labels for row in rows])
    assert (len(rows), len(labels), int(labels.sum())) == (573, 159_883, 14_479)
    test = np.concatenate([row.labels for row in data.residue_rows("test")])
    assert (len(data.rows("test")), len(test), int(test.sum())) == (129, 37_515, 2_240)
    assert 30 < len(data.rows("validation")) < 90


def _varint(value: int) -> bytes:
    found = b""
    value &= (1 << 64) - 1
    while value >= 0x80:
        found, value = found + bytes([value & 0x7F | 0x80]), value >> 7
    return found + bytes([value])


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def example(**features: Any) -> bytes:
    """A record of a TFRecord with checksums of zero, which are not looked at."""
    entries = b""
    for name, value in features.items():
        if isinstance(value, bytes):
            feature = _field(1, _field(1, value))
        elif isinstance(value[0], float):
            feature = _field(2, _field(1, struct.pack(f"<{len(value)}f", *value)))
        else:
            feature = _field(3, _field(1, b"".join(map(_varint, value))))
        entries += _field(1, _field(1, name.encode()) + _field(2, feature))
    message = _field(1, entries)
    return struct.pack("<Q4x", len(message)) + message + bytes(4)


def write_glue(folder: Path) -> None:
    folder.mkdir(parents=True)
    for number, name in enumerate(("train", "val", "test")):
        (folder / f"{name}-asa.tfrecord").write_bytes(
            example(
                sequence=b"AC" + b"DEF"[number : number + 1],
                solvent_accessibility=[0.1, 0.5, -1.0 if number == 0 else 0.9],
                buried=[1, 0, 0],
            )
        )
        rows = f"sequence,interface\nMK{'DEF'[number]},010\n"
        (folder / f"{name}_ppi_hetero.csv").write_text(rows)
        (folder / f"{name}_ppi_homo.csv").write_text(rows.replace("MK", "KM"))


def glue(root: Path, task: Any) -> ProteinGlueDataModule:
    return ProteinGlueDataModule(root, "character", task=task, batch_size=4)


def test_proteinglue_in_both_forms(tmp_path: Path) -> None:
    write_glue(tmp_path / "proteinglue")
    values = glue(tmp_path, "solvent_accessibility")
    (train,) = labels_of(values).values()
    np.testing.assert_allclose(train, [0, 1, np.nan])  # least and greatest of training
    (test,) = labels_of(values, "test").values()
    np.testing.assert_allclose(test, [0, 1, 2], rtol=1e-6)
    assert list(labels_of(glue(tmp_path, "buried")).values()) == [[1, 0, 0]]
    ppi = glue(tmp_path, "ppi")
    assert list(labels_of(ppi).values()) == [[0, 1, 0]] * 2  # hetero and homo together
    assert len(set(labels_of(ppi))) == 2
    with pytest.raises(DataError, match=r"epi\.tfrecord; it comes with: biote download protein"):
        glue(tmp_path, "epitope").rows("train")


def cut_off(folder: Path) -> LabelledDataModule:
    write_glue(folder / "proteinglue")
    path = folder / "proteinglue" / "val-asa.tfrecord"
    path.write_bytes(path.read_bytes()[:-9])
    return glue(folder, "buried")


def table(folder: Path, text: str, **options: Any) -> ResidueTableDataModule:
    path = folder / "table.csv"
    path.write_text(text)
    arguments: dict[str, Any] = {
        "sequence": "sequence", "label": "state", "kind": "classes", "classes": ["H", "E", "C~"],
        "batch_size": 4, "fold": 0, "folds": 2, "fold_file": folder / "folds.parquet",
    }  # fmt: skip
    return ResidueTableDataModule(path, "character", **(arguments | options))


def test_longer_proteins_are_left_out_where_it_is_asked_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lengths = [3, 9, 4, 5, 12, 6]
    path = tmp_path / "lengths.csv"
    lines = [f"{'ACDEFG'[i]}{'K' * (n - 1)},{'H' * n}" for i, n in enumerate(lengths)]
    path.write_text("\n".join(["sequence,state", *lines]) + "\n")
    data = ResidueTableDataModule(
        path, "character", sequence="sequence", label="state", kind="classes", classes=["H", "E"],
        batch_size=2, fold=0, folds=2, fold_file=tmp_path / "f.parquet", max_residues=6,
        validation="none",
    )  # fmt: skip
    with caplog.at_level("INFO"):
        rows = [*data.rows("train"), *data.rows("test")]
    assert sorted(len(row.parts[0][0]) for row in rows) == [3, 4, 5, 6]
    assert "2 of 6 proteins have more than 6 residues and are left out" in caplog.text


def three_lines(folder: Path, text: str) -> DnaBindingDataModule:
    for name in ("DNA_Train_573.fa", "DNA_Test_129.fa"):
        (folder / name).write_text(text)
    return DnaBindingDataModule(folder, "character", batch_size=4)


def contacts(folder: Path, **columns: Any) -> ContactsDataModule:
    values: dict[str, Any] = {
        "id": ["a", "b"],
        "protein": ["MKV", "MKL"],
        "nucleic": [[{"sequence": "ACGU", "molecule": "RNA"}]] * 2,
        "distance": [[8.0, 8.01, float("nan")], [4.0, 6.0, 20.0]],
    }
    pl.DataFrame(values | columns).write_parquet(folder / "contacts.parquet")
    return ContactsDataModule(
        folder / "contacts.parquet", "character", batch_size=2, fold=0, folds=2,
        fold_file=folder / "folds.parquet", validation="none",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda f: table(f, "sequence,state\nMKV,HE\nMKL,HEC\n"), r"row 0: 2 labels for 3 resid"),
        (lambda f: table(f, "sequence,state\nMKV,HEX\n"), r"row 0: label 'X' of residue 3 is no"),
        (lambda f: table(f, "sequence,other\nMKV,HEC\n"), r"no column 'state'; its columns are"),
        (lambda f: table(f, "sequence,state\nM-V,HEC\n"), r"row 0: gap '-' at position 2"),
        (
            lambda f: table(f, "sequence,state\nMKV,1 2 x\n", kind="values", classes=None),
            r"row 0: labels are no numbers",
        ),
        (lambda f: three_lines(f, ">a\nMKV\n010\n>b\nMKV\n01\n"), r"fa:4 \(b\): 2 labels for 3"),
        (lambda f: three_lines(f, ">a\nMKV\n012\n"), r"fa:1 \(a\): label '2' of residue 3"),
        (lambda f: three_lines(f, ">a\nMKV\n>b\nMKV\n01\n"), r"fa:1 \(a\): not a record of three"),
        (
            lambda f: DnaBindingDataModule(f, "character", batch_size=4),
            r"no file .*DNA_Train_573\.fa; copy it there from .*GraphSite",
        ),
        (
            lambda f: secondary_structure(f),
            r"no file .*train\.lmdb; it comes with: biote download tape-secondary-structure",
        ),
        (cut_off, r"val-asa\.tfrecord, record 0: not a TFRecord, or cut off"),
        (lambda f: contacts(f, distance=[[1.0], [1.0, 2.0, 3.0]]), r"\(a\): 1 distances for 3"),
        (lambda f: contacts(f, id=["a", "a"]), r"row 1 \(a\): its id occurs twice"),
    ],
)
def test_mistakes_name_the_record(
    tmp_path: Path, make: Callable[[Path], LabelledDataModule], message: str
) -> None:
    with pytest.raises(DataError, match=message) as raised:
        make(tmp_path).rows("train")
    assert "\n" not in str(raised.value)


def test_contacts_are_within_or_at_the_threshold(tmp_path: Path) -> None:
    data = contacts(tmp_path)
    rows = {row.id: row for split in ("train", "test") for row in data.residue_rows(split)}
    np.testing.assert_array_equal(rows["a"].labels[:2], [[1, 0, 0], [0, 0, 0]])
    assert np.isnan(rows["a"].labels[2]).all()  # not resolved: no label, not a negative one
    np.testing.assert_array_equal(rows["b"].labels, [[1, 1, 1], [1, 1, 0], [0, 0, 0]])
    assert [molecule for _, molecule in rows["a"].parts] == ["protein", "RNA"]
    assert rows["a"].parts[1][0] == "ACGT"


@pytest.mark.parametrize("tokenizer", ["character", "mixed_bpe.model"])
def test_unknown_and_rare_residues_of_a_complex_shift_no_label(
    tmp_path: Path, request: pytest.FixtureRequest, tokenizer: str
) -> None:
    # REFERENCE 6, 13: dropped from the stream, they would move every label after them.
    proteins = ["MXKVXXULWBAKVXL", "XXMKVZOJAAKLVX"]
    contacts(tmp_path, protein=proteins, distance=[list(range(len(p))) for p in proteins])
    if tokenizer != "character":
        real: Path = request.getfixturevalue("real_data")
        tokenizer = str(real / "tokenizers" / tokenizer)
    data = ContactsDataModule(
        tmp_path / "contacts.parquet", tokenizer, batch_size=1, fold=0, folds=2,
        fold_file=tmp_path / "folds.parquet", validation="none", thresholds=[float(i) for i in
        range(1, 15)],
    )  # fmt: skip
    rows = [row for split in ("train", "test") for row in data.residue_rows(split)]
    assert [len(row.labels) for row in rows] == [len(row.parts[0][0]) for row in rows]
    for loader in (data.train_dataloader(), data.test_dataloader()):
        for batch in loader:
            (row,) = (row for row in rows if row.id == batch.row_ids[0])
            sequence, molecule = row.parts[0]
            assert sequence == proteins["ab".index(row.id)].replace("J", "X")
            # Label c of residue i says whether i <= c + 1: as many zeros as residues before.
            zeros = (batch.residue_labels == 0).sum(1).tolist()
            assert zeros == [max(0, min(i, 15) - 1) for i in range(len(sequence))]
            places = data.tokens_of(row)
            assert places.tolist() == sorted(places.tolist())
            ids = batch.ids[torch.from_numpy(np.unique(places))].tolist()
            letters = data.tokenizer.decode(ids, molecule)
            assert len(np.unique(places)) == len(sequence) or tokenizer != "character"
            if tokenizer == "character":
                assert letters == sequence


def test_changed_labels_make_other_data(tmp_path: Path) -> None:
    first = contacts(tmp_path).data_fingerprint
    (tmp_path / "folds.parquet").unlink()
    other = contacts(tmp_path, distance=[[8.0, 7.9, 9.0], [4.0, 6.0, 20.0]]).data_fingerprint
    assert first != other


def test_several_letters_of_one_text_are_one_class(tmp_path: Path) -> None:
    data = table(tmp_path, "sequence,state\nMKV,H~?\nMKL,CEE\nMKI,HHH\n", validation="none")
    found = {
        row.parts[0][0]: row.labels[:, 0]
        for split in ("train", "test")
        for row in data.residue_rows(split)
    }
    np.testing.assert_array_equal(found["MKV"], [0, 2, np.nan])
    np.testing.assert_array_equal(found["MKL"], [2, 1, 1])
    assert data.output_names == ("H", "E", "C")
