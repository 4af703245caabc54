"""TAPE's secondary structure: the numbers of its states, and FLIP's chains in its place."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from biote.datamodules.flip import read_flip
from biote.datamodules.residue_files import read_tape_residues
from biote.datamodules.secondary_structure import SS3, SS8, SecondaryStructureDataModule
from biote.errors import ConfigError, DataError

# DSSP's letters by kind: helices, strands, and what is neither; ~ is a loop, C in TAPE.
THREE_OF_LETTER = {**dict.fromkeys("GHI", 0), **dict.fromkeys("BE", 1), **dict.fromkeys("ST~", 2)}
CHAINS = {
    "a": ("MKVA", "HHEC", "1101", "SET=train VALIDATION=False"),
    "b": ("MKLL", "EEEE", "1111", "SET=train VALIDATION=True"),
    "c": ("WWWW", "CCCC", "1111", "SET=train VALIDATION=False"),
    "d": ("YYYY", "CCCC", "1111", "SET=test VALIDATION=False"),
    "e": ("GGG", "HEC", "111", "SET=train VALIDATION=False"),
}


def module(root: Path, **options: Any) -> SecondaryStructureDataModule:
    arguments: dict[str, Any] = {"states": 3, "batch_size": 2} | options
    return SecondaryStructureDataModule(root, "character", **arguments)


def write_tape(folder: Path, **fields: list[int]) -> Path:
    where = folder / "tape" / "secondary_structure"
    where.mkdir(parents=True)
    labels = {"ss3": [0, 1, 2], "ss8": [1, 4, 7]} | fields
    for number, name in enumerate(("train", "valid", "cb513")):
        entries = [{"primary": "ACD"[number] * 3, **labels}]
        (where / f"secondary_structure_{name}.json").write_text(json.dumps(entries))
    return folder


def write_flip(folder: Path, chains: dict[str, tuple[str, str, str, str]]) -> Path:
    tape = folder / "tape"
    tape.mkdir(parents=True)
    for name, sequence in (("valid", "WWWW"), ("test", "CDE"), ("ts115", "GGG")):
        text = f"seq,label\n{sequence},{'0' * len(sequence)}\n"
        (tape / f"secondary_structure.{name}.csv").write_text(text)
    with zipfile.ZipFile(tape / "flip_secondary_structure_splits.zip", "w") as archive:
        for place, name in enumerate(("sequences", "sampled", "mask")):
            text = "".join(
                f">{key}{' ' + of[3] if name == 'sampled' else ''}\n{of[place]}\n"
                for key, of in chains.items()
            )
            archive.writestr(f"splits/{name}.fasta", text)
    return folder


def test_eight_states_are_numbered_as_in_netsurfp() -> None:
    # Source: NetSurfP-2.0's description of its files, Q8 "GHIBESTC", Q8 to Q3 "HHHEECCC".
    assert SS8.classes == tuple("GHIBESTC")
    assert SS3.classes == tuple("HEC")
    assert [THREE_OF_LETTER.get(letter, 2) for letter in SS8.classes] == [0, 0, 0, 1, 1, 2, 2, 2]


def test_other_numbers_of_the_eight_states_are_noticed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    module(write_tape(tmp_path / "right"), states=8).rows("train")
    assert "is not the one that ss8 belongs to" not in caplog.text
    other = write_tape(tmp_path / "other", ss8=[0, 2, 4], ss3=[0, 1, 2])
    module(other, states=8).rows("train")
    assert "ss3 of 2 of 3 residues is not the one that ss8 belongs to" in caplog.text
    caplog.clear()
    module(other, states=3).rows("train")
    assert caplog.text == ""


def test_the_csv_form_is_no_form_of_eight_states(tmp_path: Path) -> None:
    write_flip(tmp_path, CHAINS)
    module(tmp_path, train_on="valid").locate()
    with pytest.raises(DataError, match="biote download tape-secondary-structure"):
        module(tmp_path, states=8, train_on="valid").locate()


def test_what_is_trained_on_does_not_follow_the_form_of_what_is_tested(tmp_path: Path) -> None:
    tape = write_tape(tmp_path) / "tape"
    for name in ("train", "valid", "ts115"):
        (tape / f"secondary_structure.{name}.csv").write_text("seq,label\nMKV,012\n")
    data = [module(tmp_path, test_set=name) for name in ("ts115", "cb513")]
    assert len({of.split_fingerprint for of in data}) == 1
    assert data[1].rows("train")[0].parts[0][0] == "MKV"
    assert data[1].rows("test")[0].parts[0][0] == "DDD"  # JSON


def test_a_sequence_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "set.json"
    path.write_text('[{"primary": 5, "ss3": [0]}]')
    with pytest.raises(DataError, match="entry 0: primary is no text"):
        list(read_tape_residues(path, field="ss3"))


def test_flip_trains_on_what_is_neither_validated_nor_tested_on(tmp_path: Path) -> None:
    data = module(write_flip(tmp_path, CHAINS), train_on="flip")
    (row,) = data.residue_rows("train")  # c is in valid, e in another test set
    assert (row.id, row.parts[0][0]) == ("flip:a", "MKVA")
    np.testing.assert_array_equal(row.labels[:, 0], [0, 0, np.nan, 2])  # not resolved: no label
    assert data.benchmark == "tape/ss3 (trained on flip)"
    assert [row.parts[0][0] for row in data.rows("validation")] == ["WWWW"]
    assert module(tmp_path, train_on="flip", test_set="ts115").split_fingerprint == (
        data.split_fingerprint
    )
    with pytest.raises(ConfigError, match=r"data\.train_on: FLIP's chains have three states"):
        module(tmp_path, states=8, train_on="flip")


@pytest.mark.parametrize(
    ("chain", "said"),
    [
        (("MKVA", "HHE", "111", "SET=train VALIDATION=False"), "zip, x: 3 labels for 4 residues"),
        (("MKVA", "HHEX", "1111", "SET=train VALIDATION=False"), "x: label 'X' of residue 4"),
        (("MKVA", "HHEC", "111", "SET=train VALIDATION=False"), "x: a mask of 3 for 4 labels"),
        (("MKVA", "HHEC", "11x1", "SET=train VALIDATION=False"), "x: a mask of 4"),
    ],
)
def test_a_bad_chain_is_named(tmp_path: Path, chain: tuple[str, str, str, str], said: str) -> None:
    data = module(write_flip(tmp_path, CHAINS | {"x": chain}), train_on="flip")
    with pytest.raises(DataError, match=said):
        data.rows("train")


def test_a_zip_of_something_else_or_none_is_named(tmp_path: Path) -> None:
    write_flip(tmp_path, CHAINS)
    path = tmp_path / "tape" / "flip_secondary_structure_splits.zip"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match="not FLIP's zip"):
        module(tmp_path, train_on="flip").rows("train")
    path.unlink()
    with pytest.raises(DataError, match=r"no file .*splits\.zip; copy it there"):
        module(tmp_path, train_on="flip").locate()


def test_the_states_of_real_chains_agree_over_three_sources(real_data: Path) -> None:
    """Other numbers of the states would agree on a third of the residues."""
    tape = real_data / "tape"
    chains = list(read_flip(tape / "flip_secondary_structure_splits.zip"))
    assert len(chains) == 9_712
    for name in ("valid", "test"):
        chains += read_tape_residues(tape / f"secondary_structure.{name}.csv", field="ss3")
    eight = dict(
        pl.read_parquet(
            real_data / "residue_labels" / "ss8_peft_sanity_dataset.parquet"
        ).iter_rows()
    )
    three: dict[str, Any] = {}
    same, agreeing = [], []
    for record in chains:
        labels = SS3.labels(record)[:, 0]
        if record.sequence in three:
            found = three[record.sequence]
            known = ~np.isnan(labels) & ~np.isnan(found)
            same.append((labels == found)[known])
        three[record.sequence] = labels
        if record.sequence in eight:
            known = ~np.isnan(labels)
            letters = [THREE_OF_LETTER[letter] for letter in eight[record.sequence]]
            agreeing.append((labels == letters)[known])
    assert len(np.concatenate(same)) > 100_000
    assert np.concatenate(same).mean() > 0.999
    assert len(np.concatenate(agreeing)) > 4_000
    assert np.concatenate(agreeing).mean() > 0.95
