from __future__ import annotations

import json
import logging
from collections import Counter
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from biote.datamodules.ablation import Ablation, AblationSettings
from biote.datamodules.pronab import Duplicates, PronabDataModule, read_pronab, without_duplicates
from biote.datamodules.rows import SPLITS, Row
from biote.errors import ConfigError, DataError
from biote.molecules import Molecule
from biote.splits import ALWAYS_TRAIN, load_folds
from biote.splits.rules import Rule
from biote.splits.score_cache import CACHE_FOLDER
from biote.splits.similarity import nearest_training_proteins, refuse_similar

PROTEIN = "ARNDCQEGHILKMFPSTWYV"
GOOD: list[Any] = ["ACGTTC", "DNA", 1e-6, -8.0, ""]


def write(folder: Path, proteins: dict[str, tuple[str, list[list[Any]]]]) -> Path:
    """A file of the given proteins and measurements."""
    path = folder / "pronab.json"
    content = {
        accession: {
            "binding data": measurements,
            "Protein Name": "name",
            "Protein source": "source",
            "Sequence": sequence,
        }
        for accession, (sequence, measurements) in proteins.items()
    }
    path.write_text(json.dumps(content))
    return path


def measured(folder: Path, measurements: list[list[Any]], *, sequence: str = "MKV") -> list[Row]:
    return read_pronab(write(folder, {"P1": (sequence, measurements)})).rows


def many(folder: Path, *, proteins: int = 24, twins: int = 4) -> Path:
    """Distinct proteins with one to four rows each; some stand under two accessions."""
    rng = np.random.default_rng(0)
    content: dict[str, tuple[str, list[list[Any]]]] = {}
    for i in range(proteins):
        sequence = "".join(rng.choice(list(PROTEIN), 20 + i))
        for twin in range(2 if i < twins else 1):
            rows = [
                ["".join(rng.choice(list("ACGT"), 12)), "DNA", 1e-6, -5.0 - j - i / 8, ""]
                for j in range(1 + i % 4)
            ]
            content[f"P{i}_{twin}"] = (sequence, rows)
    return write(folder, content)


def module(path: Path, *, fold: int = 0, **options: Any) -> PronabDataModule:
    arguments: dict[str, Any] = {"batch_size": 8, "fold_file": path.parent / "folds.parquet"}
    return PronabDataModule(path, "character", fold=fold, **(arguments | options))


def test_a_row_is_protein_and_strands_as_they_are_given(tmp_path: Path) -> None:
    # The second strand is data: here it is no reverse complement of the first.
    (row,) = measured(tmp_path, [["ACGTT", "DNA", 1e-6, -8.25, "AACGA"]])
    assert row.id == "P1:0"
    assert row.parts == (
        ("MKV", Molecule.PROTEIN),
        ("ACGTT", Molecule.DNA),
        ("AACGA", Molecule.DNA),
    )
    assert row.target == (-8.25,)


def test_no_second_strand_is_made_up(tmp_path: Path) -> None:
    (row,) = measured(tmp_path, [["ACGTT", "DNA", 1e-6, -8.0, ""]])
    assert [sequence for sequence, _ in row.parts] == ["MKV", "ACGTT"]


def test_rna_is_written_with_t(tmp_path: Path) -> None:
    rows = measured(
        tmp_path, [["ACGUU", "RNA", 1e-6, -8.0, "AACGU"], ["ACGTT", "RNA", 1e-6, -8.0, ""]]
    )
    assert rows[0].parts[1:] == (("ACGTT", Molecule.RNA), ("AACGT", Molecule.RNA))
    assert rows[1].parts[1:] == (("ACGTT", Molecule.RNA),)


@pytest.mark.parametrize(
    ("measurement", "sequence", "reason"),
    [
        (["ACGT", "DNA", 0.0, 0.0, ""], "MKV", "Delta G missing"),
        (["ACGT", "DNA", 1e-8, 1.1e-8, ""], "MKV", "Delta G above -0.005 kcal/mol"),
        (["ACGT", "DNA", 1e-8, -0.004, ""], "MKV", "Delta G above -0.005 kcal/mol"),
        (["ACGT", "DNA", 1e-8, float("nan"), ""], "MKV", "Delta G above -0.005 kcal/mol"),
        (["ACGT", "Other", 1e-8, -8.0, ""], "MKV", "type is neither DNA nor RNA"),
        (["", "DNA", 1e-8, -8.0, "ACGT"], "MKV", "first strand empty"),
        (["ACGT", "DNA", 1e-8, -8.0, ""], "MKX", "protein has other than the 20 standard residues"),
        (["ACGT", "DNA", 1e-8, -8.0, ""], "", "protein has other than the 20 standard residues"),
        (["ACNT", "DNA", 1e-8, -8.0, ""], "MKV", "nucleic acid has other than A, C, G, T, U"),
        (["ACGT", "DNA", 1e-8, -8.0, "AC-T"], "MKV", "nucleic acid has other than A, C, G, T, U"),
    ],
)
def test_every_dropped_row_is_counted_by_its_reason(
    tmp_path: Path, measurement: list[Any], sequence: str, reason: str
) -> None:
    path = write(tmp_path, {"P1": (sequence, [measurement]), "P2": ("MKL", [GOOD])})
    read = read_pronab(path)
    assert [row.id for row in read.rows] == ["P2:0"]
    assert read.dropped == {reason: 1}


def test_an_infinite_energy_is_no_row(tmp_path: Path) -> None:
    # One would make the mean of the training targets infinite, and all predictions with it.
    path = write(tmp_path, {"P1": ("MKV", [["ACGT", "DNA", 1e-8, float("-inf"), ""], GOOD])})
    read = read_pronab(path)
    assert [row.id for row in read.rows] == ["P1:1"]
    assert sum(read.dropped.values()) == 1


def test_the_weakest_energy_that_counts_is_kept(tmp_path: Path) -> None:
    rows = measured(tmp_path, [["ACGT", "DNA", 1e-3, dg, ""] for dg in (-0.005, -0.01, -20.01)])
    assert [row.target[0] for row in rows] == [-0.005, -0.01, -20.01]


def test_row_ids_name_the_place_in_the_file(tmp_path: Path) -> None:
    rows = measured(tmp_path, [GOOD, ["ACGT", "Other", 1e-8, -8.0, ""], GOOD])
    assert [row.id for row in rows] == ["P1:0", "P1:2"]


def test_an_empty_first_strand_may_take_the_second(tmp_path: Path) -> None:
    path = write(tmp_path, {"P1": ("MKV", [["", "DNA", 1e-8, -8.0, "ACGG"]])})
    read = read_pronab(path, empty_first_strand="second")
    assert [row.parts[1:] for row in read.rows] == [(("ACGG", Molecule.DNA),)]
    assert read.dropped == {}
    empty = write(tmp_path, {"P1": ("MKV", [["", "DNA", 1e-8, -8.0, ""], GOOD])})
    assert read_pronab(empty, empty_first_strand="second").dropped == {"first strand empty": 1}


@pytest.mark.parametrize(
    "entry",
    [
        {"binding data": [GOOD]},
        {"Sequence": "MKV"},
        {"Sequence": "MKV", "binding data": [GOOD[:4]]},
        {"Sequence": "MKV", "binding data": [[*GOOD[:3], "strong", ""]]},
        {"Sequence": "MKV", "binding data": [[*GOOD[:3], None, ""]]},
        {"Sequence": "MKV", "binding data": [[7, *GOOD[1:]]]},
        {"Sequence": None, "binding data": [GOOD]},
        {"Sequence": "MKV", "binding data": 3},
        "MKV",
        None,
    ],
)
def test_a_malformed_entry_is_counted_and_the_rest_is_kept(tmp_path: Path, entry: Any) -> None:
    # REFERENCE 6, 14: one unreadable record must not take the file with it.
    path = tmp_path / "pronab.json"
    good = {"Sequence": "MKV", "binding data": [GOOD]}
    path.write_text(json.dumps({"P00001": good, "P00002": entry}))
    read = read_pronab(path)
    assert [row.id for row in read.rows] == ["P00001:0"]
    assert sum(read.dropped.values()) == 1
    path.write_text(json.dumps({"P00002": entry}))
    with pytest.raises(DataError, match="no row of ProNAB that can be used"):
        read_pronab(path)


@pytest.mark.parametrize(
    ("content", "message"), [(b"{", "not JSON"), (b"\xff", "not JSON"), (b"[]", "not an object")]
)
def test_another_file_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "pronab.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_pronab(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data\.root: no file .*pronab_no_mutations\.json; give"):
        module(tmp_path).setup("fit")


DUPLICATES = [
    ["ACGTT", "DNA", 1e-6, -8.0, "AACGA"],  # 0
    ["AACGA", "DNA", 1e-6, -8.0, "ACGTT"],  # 1: the strands of 0 in the other order
    ["ACGTT", "DNA", 1e-6, -6.0, "AACGA"],  # 2: the input of 0, another value
    ["AACGA", "DNA", 1e-6, -1.0, "ACGTT"],  # 3: the input of 0, a third value
    ["ACGTT", "RNA", 1e-6, -8.0, "AACGA"],  # 4: another molecule
    ["ACGTT", "DNA", 1e-6, -8.0, ""],  # 5: one strand only
    ["ACGTT", "DNA", 1e-6, -8.0, "ACGTT"],  # 6: the same strand twice
]


@pytest.mark.parametrize(
    ("duplicates", "kept"),
    [
        ("keep", {0: -8.0, 1: -8.0, 2: -6.0, 3: -1.0, 4: -8.0, 5: -8.0, 6: -8.0}),
        ("drop", {0: -8.0, 2: -6.0, 3: -1.0, 4: -8.0, 5: -8.0, 6: -8.0}),
        ("mean", {0: -5.75, 4: -8.0, 5: -8.0, 6: -8.0}),
        ("median", {0: -7.0, 4: -8.0, 5: -8.0, 6: -8.0}),
    ],
)
def test_duplicates_are_inputs_with_strands_in_either_order(
    tmp_path: Path, duplicates: Duplicates, kept: dict[int, float]
) -> None:
    rows = without_duplicates(measured(tmp_path, DUPLICATES), duplicates)
    assert {row.id: row.target[0] for row in rows} == {f"P1:{i}": dg for i, dg in kept.items()}


def test_rows_of_two_proteins_are_no_duplicates(tmp_path: Path) -> None:
    path = write(tmp_path, {"P1": ("MKV", [GOOD]), "P2": ("MKL", [GOOD]), "P3": ("MKV", [GOOD])})
    rows = without_duplicates(read_pronab(path).rows, "drop")
    assert [row.id for row in rows] == ["P1:0", "P2:0"]


def test_accessions_with_one_sequence_are_one_group(tmp_path: Path) -> None:
    # REFERENCE 6, 2 (exact copies): splits are by sequence, not by accession.
    path = write(tmp_path, {"P1": ("MKV", [GOOD]), "P2": ("MKL", [GOOD]), "P3": ("MKV", [GOOD])})
    one, two, three = read_pronab(path).rows
    assert one.group == three.group != two.group


def test_ten_folds_are_a_partition_of_whole_proteins(tmp_path: Path) -> None:
    # REFERENCE 6, 1 and 2.
    path = many(tmp_path)
    every = sorted(row.id for row in read_pronab(path).rows)
    tested: list[str] = []
    for fold in range(10):
        data = module(path, fold=fold)
        proteins = [{row.parts[0] for row in data.rows(split)} for split in SPLITS]
        assert all(proteins)
        assert len(set.union(*proteins)) == sum(map(len, proteins)) == 24
        assert sorted(row.id for split in SPLITS for row in data.rows(split)) == every
        assert data.fold == fold
        tested += [row.id for row in data.rows("test")]
    assert sorted(tested) == every


def test_without_a_fold_all_rows_are_trained_on(tmp_path: Path) -> None:
    path = many(tmp_path)
    every = sorted(row.id for row in read_pronab(path).rows)
    data = PronabDataModule(path, "character", batch_size=8, fold=None, fold_file=None)
    assert sorted(row.id for row in data.rows("train")) == every
    assert not data.rows("validation")
    assert not data.rows("test")
    assert data.fold is None
    data.setup("fit")
    with pytest.raises(DataError, match="no test row"):
        data.setup("test")
    with pytest.raises(ConfigError, match=r"data.fold_file: none, to find fold 0 in"):
        PronabDataModule(path, "character", batch_size=8, fold=0, fold_file=None)


def test_shuffled_energies_are_those_of_other_training_rows(tmp_path: Path) -> None:
    path = many(tmp_path)
    plain, shuffled = (
        module(path, ablation=AblationSettings(kind=kind, trained=kind != "none"))
        for kind in get_args(Ablation)[::3]
    )
    for split in SPLITS:
        assert plain.rows(split) == shuffled.rows(split)
        before = {row.id: row.target for row in plain.seen_rows(split)}
        after = {row.id: row.target for row in shuffled.seen_rows(split)}
        assert Counter(before.values()) == Counter(after.values())
        moved = sum(after[row] != target for row, target in before.items())
        assert moved == 0 if split == "test" else moved > len(before) // 2
    in_batches: dict[str, float] = {}
    for batch in shuffled.train_dataloader():
        in_batches |= dict(zip(batch.row_ids, batch.targets[:, 0].tolist(), strict=True))
    wanted = {row.id: row.target[0] for row in shuffled.seen_rows("train")}
    assert in_batches == pytest.approx(wanted)
    # What was trained on shuffled energies cannot pass for what was not.
    assert plain.split_fingerprint != shuffled.split_fingerprint


def test_the_fold_file_is_made_once_and_refused_for_other_data(tmp_path: Path) -> None:
    path = many(tmp_path)
    folds = tmp_path / "folds.parquet"
    first = module(path).rows("test")
    content, written = folds.read_bytes(), folds.stat().st_mtime_ns
    assert module(path).rows("test") == first
    assert (folds.read_bytes(), folds.stat().st_mtime_ns) == (content, written)
    changed = json.loads(path.read_text())
    changed["P0_0"]["binding data"][0][3] -= 0.25
    path.write_text(json.dumps(changed))
    with pytest.raises(DataError, match=r"fold file: made for data fingerprint .*; delete"):
        module(path).rows("test")
    assert folds.read_bytes() == content


def test_what_is_dropped_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = many(tmp_path)
    content = json.loads(path.read_text())
    content["P0_0"]["binding data"] += [
        ["ACGT", "DNA", 0.0, 0.0, ""],
        ["ACGT", "DNA", 0.0, 0.0, ""],
        ["ACGT", "Other", 1e-6, -8.0, ""],
        content["P0_0"]["binding data"][0],
    ]
    path.write_text(json.dumps(content))
    with caplog.at_level(logging.INFO, logger="biote"):
        module(path, duplicates="drop").setup("fit")
    assert "ProNAB: 2 rows dropped: Delta G missing." in caplog.text
    assert "ProNAB: 1 rows dropped: type is neither DNA nor RNA." in caplog.text
    assert "ProNAB: 1 of 71 rows dropped as duplicates (drop)." in caplog.text
    assert "ProNAB: 70 rows of 24 proteins kept." in caplog.text


def test_a_batch_is_the_binding_input(tmp_path: Path) -> None:
    data = module(many(tmp_path))
    batch = next(iter(data.test_dataloader()))
    row = data.rows("test")[0]
    (protein, _), (strand, _) = row.parts
    tokenizer = data.tokenizer
    ids = [
        tokenizer.tag_id(Molecule.PROTEIN),
        *tokenizer.encode_ids(protein, Molecule.PROTEIN).tolist(),
        tokenizer.eos_id(Molecule.PROTEIN.modality),
        tokenizer.tag_id(Molecule.DNA),
        *tokenizer.encode_ids(strand, Molecule.DNA).tolist(),
        tokenizer.eos_id(Molecule.DNA.modality),
    ]
    assert batch.ids[: batch.lengths[0]].tolist() == ids
    assert batch.positions[: batch.lengths[0]].tolist() == list(range(len(ids)))
    assert batch.row_ids[0] == row.id
    assert batch.targets[0].item() == pytest.approx(row.target[0])


def test_the_real_file(real_data: Path, tmp_path: Path) -> None:
    read = read_pronab(real_data / "pronab" / "pronab_no_mutations.json")
    assert len(read.rows) == 13_568
    assert len({row.id.partition(":")[0] for row in read.rows}) == 742
    assert read.dropped == {
        "Delta G missing": 910,
        "type is neither DNA nor RNA": 96,
        "Delta G above -0.005 kcal/mol": 6,
        "first strand empty": 2,
    }
    # Two pairs of accessions and one triple share a sequence.
    assert len({row.group for row in read.rows}) == len({row.parts[0] for row in read.rows}) == 738
    # 3,603 inputs, ten of which stand there with their strands in the other order too.
    assert len({row.group + repr(row.parts[1:]) for row in read.rows}) == 3_603
    assert len(without_duplicates(read.rows, "mean")) == 3_593
    tested: Counter[str] = Counter()
    for fold in range(10):
        data = module(real_data, fold=fold, fold_file=tmp_path / "folds.parquet")
        proteins = [{row.parts[0] for row in data.rows(split)} for split in SPLITS]
        assert len(set.union(*proteins)) == sum(map(len, proteins)) == 738
        tested.update(row.id for row in data.rows("test"))
    assert len(tested) == 13_568
    assert set(tested.values()) == {1}


@pytest.mark.full
def test_no_clusters_of_the_real_file_are_divided(real_data: Path, tmp_path: Path) -> None:
    # REFERENCE 6, 2 (near copies): no test protein is similar to one outside its fold.
    rules: tuple[Rule, ...] = ("cluster", "paper")
    for rule in rules:
        path = tmp_path / f"{rule}.parquet"
        data = module(real_data, fold_file=path, rule=rule)
        assert all(data.rows(split) for split in SPLITS)
        folds = load_folds(path)
        assert (len(set(folds.groups)), len(set(folds.clusters))) == (738, 625)
        nearest = nearest_training_proteins(folds, tmp_path / CACHE_FOLDER)
        refuse_similar(folds, nearest, threshold=1.5, where=rule)
        assert len(nearest) == {"cluster": 738, "paper": 541}[rule]
        assert folds.assignment.count(ALWAYS_TRAIN) == {"cluster": 0, "paper": 3_784}[rule]
    assert len(list((tmp_path / CACHE_FOLDER).iterdir())) == 1
