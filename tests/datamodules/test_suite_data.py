"""What all data of the suites have in common: leaks, and mistakes in every format of labels."""

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

from biote.datamodules.base import LabelledDataModule
from biote.datamodules.contact_map import ContactMapDataModule
from biote.datamodules.gue import GueDataModule
from biote.datamodules.proteinglue import ProteinGlueDataModule
from biote.datamodules.residue_table import ResidueTableDataModule
from biote.datamodules.residues import ResidueRow
from biote.datamodules.secondary_structure import SecondaryStructureDataModule
from biote.datamodules.tape import TapeDataModule
from biote.errors import DataError

Make = Callable[..., LabelledDataModule]
Entry = dict[str, Any]
# B is in train and validation, C in train and test, D in validation and test.
SPLITS = {"train": "ABC", "valid": "BDE", "test": "CDF"}
OPTIONS: dict[str, Any] = {"batch_size": 2, "context": 64}


def sequence(letter: str, *, letters: str = "ACDEFG") -> str:
    return letters["ABCDEF".index(letter)] * 4 + letters[:3]


def gue(root: Path, **options: Any) -> LabelledDataModule:
    folder = root / "gue" / "GUE" / "tf" / "0"
    folder.mkdir(parents=True, exist_ok=True)
    dna = {letter: "ACGT"[i % 4] * (3 + i) + "AC" for i, letter in enumerate("ABCDEF")}
    for split, held in SPLITS.items():
        lines = [f"{dna[letter]},{i % 2}" for i, letter in enumerate(held)]
        path = folder / f"{'dev' if split == 'valid' else split}.csv"
        path.write_text("\n".join(["sequence,label", *lines]) + "\n")
    return GueDataModule(root, "character", task="tf/0", **OPTIONS, **options)


def tape(root: Path, **options: Any) -> LabelledDataModule:
    folder = root / "tape"
    folder.mkdir(exist_ok=True)
    for split, held in SPLITS.items():
        lines = [f"{sequence(letter)},{i}" for i, letter in enumerate(held)]
        text = "\n".join(["seq,label", *lines]) + "\n"
        (folder / f"stability.{split}.csv").write_text(text)
    return TapeDataModule(root, "character", task="stability", **OPTIONS, **options)


def structure(root: Path, **options: Any) -> LabelledDataModule:
    folder = root / "tape"
    folder.mkdir(exist_ok=True)
    for split, held in SPLITS.items():
        lines = [f"{sequence(letter)},0120120" for letter in held]
        text = "\n".join(["seq,label", *lines]) + "\n"
        (folder / f"secondary_structure.{split}.csv").write_text(text)
    return SecondaryStructureDataModule(root, "character", states=3, **OPTIONS, **options)


def glue(root: Path, **options: Any) -> LabelledDataModule:
    folder = root / "proteinglue"
    folder.mkdir(exist_ok=True)
    for split, held in SPLITS.items():
        lines = [f"{sequence(letter)},0110110" for letter in held]
        text = "\n".join(["sequence,interface", *lines]) + "\n"
        (folder / f"{split}-ppi.csv").write_text(text)
    return ProteinGlueDataModule(root, "character", task="ppi", **OPTIONS, **options)


def contacts(root: Path, **options: Any) -> LabelledDataModule:
    folder = root / "tape" / "proteinnet"
    folder.mkdir(parents=True, exist_ok=True)
    for split, held in SPLITS.items():
        entries = [
            {
                "id": letter, "primary": sequence(letter), "valid_mask": [True] * 7,
                "tertiary": [[float(i), 0.0, 0.0] for i in range(7)],
            }
            for letter in held
        ]  # fmt: skip
        (folder / f"proteinnet_{split}.json").write_text(json.dumps(entries))
    return ContactMapDataModule(root, "character", **OPTIONS, **options)


@pytest.mark.parametrize("make", [gue, tape, structure, glue, contacts])
def test_leaks_are_counted_and_dropped_on_request(
    make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "biote")
    kept = make(tmp_path)
    sizes = {split: len(kept.rows(split)) for split in ("train", "validation", "test")}
    assert sizes == {"train": 3, "validation": 3, "test": 3}
    for pair in (("train", "validation"), ("validation", "test"), ("train", "test")):
        assert any(
            all(name in line for name in pair) and " 1 " in line.replace(": 1 ", " 1 ")
            for line in caplog.text.splitlines()
        ), pair
    clean = make(tmp_path, drop_leaks=True)
    found = {
        split: {row.parts[0][0] for row in clean.rows(split)}
        for split in ("train", "validation", "test")
    }
    assert found["test"] == {row.parts[0][0] for row in kept.rows("test")}
    assert not found["train"] & (found["validation"] | found["test"])
    assert not found["validation"] & found["test"]
    assert found["validation"] >= {kept.rows("validation")[2].parts[0][0]}
    assert kept.rows("train")[0].parts[0][0] in found["train"]
    assert clean.split_fingerprint != kept.split_fingerprint


def write_csv(root: Path, entry: Entry) -> LabelledDataModule:
    structure(root)
    digits = "".join(map(str, entry["labels"])) if "labels" in entry else ""
    name = "label" if "labels" in entry else "state"
    path = root / "tape" / "secondary_structure.train.csv"
    path.write_text(f"seq,{name}\nMKV,012\n{entry['sequence']},{digits}\n")
    return SecondaryStructureDataModule(root, "character", states=3, **OPTIONS)


def tape_entries(entry: Entry) -> list[Entry]:
    named = {"primary": entry["sequence"]}
    if "labels" in entry:
        named["ss3"] = entry["labels"]
    return [{"primary": "MKV", "ss3": [0, 1, 2]}, named]


def write_json(root: Path, entry: Entry) -> LabelledDataModule:
    folder = root / "tape" / "secondary_structure"
    folder.mkdir(parents=True)
    for name in ("train", "valid", "cb513"):
        path = folder / f"secondary_structure_{name}.json"
        path.write_text(json.dumps(tape_entries(entry)))
    return SecondaryStructureDataModule(root, "character", states=3, **OPTIONS)


def write_lmdb(root: Path, entry: Entry) -> LabelledDataModule:
    folder = root / "tape" / "secondary_structure"
    folder.mkdir(parents=True)
    for name in ("train", "valid", "cb513"):
        path = str(folder / f"secondary_structure_{name}.lmdb")
        with lmdb.open(path, map_size=2**20) as environment, environment.begin(write=True) as put:
            put.put(b"num_examples", pickle.dumps(2))
            for number, record in enumerate(tape_entries(entry)):
                record |= {"ss3": np.array(record["ss3"])} if "ss3" in record else {}
                put.put(str(number).encode(), pickle.dumps(record))
    return SecondaryStructureDataModule(root, "character", states=3, **OPTIONS)


def _sized(number: int, content: bytes) -> bytes:
    assert len(content) < 128
    return bytes([number << 3 | 2, len(content)]) + content


def example(**features: Any) -> bytes:
    """A record of a TFRecord."""
    entries = b""
    for name, value in features.items():
        if isinstance(value, bytes):
            feature = _sized(1, _sized(1, value))
        else:
            feature = _sized(3, _sized(1, bytes(value)))
        entries += _sized(1, _sized(1, name.encode()) + _sized(2, feature))
    message = _sized(1, entries)
    return struct.pack("<Q4x", len(message)) + message + bytes(4)


def write_tfrecord(root: Path, entry: Entry) -> LabelledDataModule:
    folder = root / "proteinglue"
    folder.mkdir(parents=True)
    labels = {"ss3": entry["labels"]} if "labels" in entry else {}
    records = example(sequence=b"MKV", ss3=[0, 1, 2]) + example(
        sequence=entry["sequence"].encode(), **labels
    )
    for split in SPLITS:
        (folder / f"{split}-ss3.tfrecord").write_bytes(records)
    return ProteinGlueDataModule(root, "character", task="ss3", **OPTIONS)


def structure_glue(root: Path) -> LabelledDataModule:
    return ProteinGlueDataModule(root, "character", task="ss3", **OPTIONS)


def test_a_second_file_of_a_split_is_refused(tmp_path: Path) -> None:
    # Its rows would be trained on twice.
    write_tfrecord(tmp_path, {"sequence": "MKL", "labels": [0, 1, 2]})
    folder = tmp_path / "proteinglue"
    for split in SPLITS:
        (folder / f"{split}-ss3.csv").write_text("sequence,ss3\nMKA,012\n")
    assert len(structure_glue(tmp_path).rows("train")) == 2  # one form of the two
    (folder / "train_ss3_copy.tfrecord").write_bytes((folder / "train-ss3.tfrecord").read_bytes())
    with pytest.raises(DataError, match=r"2 files of train: .*; leave one there"):
        structure_glue(tmp_path).rows("train")


def test_two_rows_of_one_id_are_refused(tmp_path: Path) -> None:
    glue(tmp_path)
    part = tmp_path / "proteinglue" / "part"
    part.mkdir()
    (part / "train-ppi.csv").write_text("sequence,interface\nMKV,011\n")
    data = ProteinGlueDataModule(tmp_path, "character", task="ppi", **OPTIONS)
    with pytest.raises(DataError, match="two rows have the id train-ppi:0"):
        data.rows("train")


def test_proteinglue_is_looked_for_where_it_belongs(tmp_path: Path) -> None:
    write_tfrecord(tmp_path / "else", {"sequence": "MKL", "labels": [0, 1, 2]})
    where = str(tmp_path / "proteinglue" / "train-ss3.tfrecord")
    with pytest.raises(DataError, match=f"no file {where}"):
        structure_glue(tmp_path).locate()
    structure_glue(tmp_path / "else" / "proteinglue").locate()


def test_residues_written_as_apostrophes_are_unknown(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "biote")
    data = write_tfrecord(tmp_path, {"sequence": "MK'L", "labels": [0, 1, 2, 0]})
    row = data.rows("train")[1]
    assert row.parts[0][0] == "MKXL"
    assert isinstance(row, ResidueRow)
    assert row.labels[:, 0].tolist() == [0, 1, 2, 0]
    assert "1 residues of train are written ' and read as X" in caplog.text


def write_parquet(root: Path, entry: Entry) -> LabelledDataModule:
    columns: Entry = {"id": ["a", "b"], "sequence": ["MKV", entry["sequence"]]}
    if "labels" in entry:
        columns["state"] = ["012", "".join(map(str, entry["labels"]))]
    pl.DataFrame(columns).write_parquet(root / "table.parquet")
    return ResidueTableDataModule(
        root / "table.parquet", "character", sequence="sequence", label="state", kind="classes",
        classes=["0", "1", "2"], id_column="id", folds=2, fold_file=root / "folds.parquet",
        **OPTIONS,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("write", "record", "column"),
    [
        (write_csv, r"secondary_structure\.train\.csv:3", r"csv:1: no column 'label' among seq, s"),
        (write_json, r"valid\.json, entry 1", r"valid\.json, entry 1: no field 'ss3'"),
        (write_lmdb, r"valid\.lmdb, entry 1", r"valid\.lmdb, entry 1: no field 'ss3'"),
        (write_tfrecord, r"train-ss3\.tfrecord, record 1", r"record 1: no feature 'ss3'"),
        (write_parquet, r"table\.parquet, row 1 \(b\)", r"table\.parquet: no column 'state'"),
    ],
)
@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"sequence": "MKVA", "labels": [0, 1, 2]}, r": 3 labels for 4 residues; give every"),
        ({"sequence": "MK", "labels": [0, 1, 2]}, r": 3 labels for 2 residues; give every"),
        ({"sequence": "MKV", "labels": [0, 3, 1]}, r": label '?3'? of residue 2 is no class; clas"),
        ({"sequence": "M-V", "labels": [0, 1, 2]}, r": gap '-' at position 2"),
        ({"sequence": "MKV"}, None),
    ],
)
def test_a_mistake_in_labels_names_the_record_in_every_format(
    write: Callable[[Path, Entry], LabelledDataModule],
    record: str,
    column: str,
    entry: Entry,
    said: str | None,
    tmp_path: Path,
) -> None:
    with pytest.raises(DataError, match=column if said is None else record + said) as raised:
        write(tmp_path, entry).rows("train")
    assert "\n" not in str(raised.value)
