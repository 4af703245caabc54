from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from biote.datamodules.contact_map import ContactMapDataModule
from biote.errors import BioteError
from biote.pair_batch import PairBatch

SEQUENCES = [
    "MKVLAWGHTR" * 2,
    "GGSTRLKMNP",
    "MKVLAWGHTR" * 2,
    "ACDEFGHIKLMNPQRSTVWY",
    "AAAA",
    "WYWY",
]


def places_of(length: int, seed: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    places = np.random.default_rng(seed).uniform(0, 30, (length, 3)).astype(np.float32)
    places[0] = np.nan
    return places


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "maps.parquet"
    pl.DataFrame(
        {
            "id": [f"P{i}" for i in range(len(SEQUENCES))],
            "sequence": SEQUENCES,
            "coordinates": [places_of(len(s), i).ravel().tolist() for i, s in enumerate(SEQUENCES)],
            "cluster": ["a", "a", "a", "b", "c", "c"],
        },
        schema_overrides={"coordinates": pl.List(pl.Float32)},
    ).write_parquet(path)
    return path


def make(root: Path, **options: Any) -> ContactMapDataModule:
    arguments: dict[str, Any] = {"batch_size": 2, "folds": 3, "context": 64}
    if not root.is_dir():
        arguments["fold_file"] = root.with_name("folds.parquet")
    return ContactMapDataModule(root, "character", **(arguments | options))


def batches_of(data: ContactMapDataModule, split: str) -> list[PairBatch]:
    loader = {"train": data.train_dataloader, "test": data.test_dataloader}[split]()
    found = list(loader)
    assert all(isinstance(batch, PairBatch) for batch in found)
    return found


def test_batches_hold_every_residue_with_its_token_and_place(table: Path) -> None:
    data = make(table)
    seen = 0
    for split in ("train", "test"):
        for batch in batches_of(data, split):
            places = batch.coordinates.split(list(batch.residues))
            tokens = batch.token_of_residue.split(list(batch.residues))
            groups = batch.ids.split(list(batch.lengths))
            for row, where, of, ids in zip(batch.row_ids, places, tokens, groups, strict=True):
                number = int(row.removeprefix("P"))
                expected = places_of(len(SEQUENCES[number]), number)
                np.testing.assert_array_equal(where.numpy(), expected)
                letters = data.tokenizer.decode(ids[1:-1][of].tolist(), data_molecule())
                assert letters == SEQUENCES[number]
                seen += 1
    assert seen == len(data.rows("train")) + len(data.rows("test"))


def data_molecule() -> Any:
    from biote.molecules import Molecule

    return Molecule.PROTEIN


def test_equal_sequences_and_clusters_stand_on_one_side(table: Path, tmp_path: Path) -> None:
    for fold in range(3):
        data = make(table, fold=fold)
        sides = {
            row.id: split for split in ("train", "validation", "test") for row in data.rows(split)
        }
        assert len(sides) == len(SEQUENCES)
        assert sides["P0"] == sides["P2"]
        data = make(table, fold=fold, group_column="cluster", fold_file=tmp_path / "other.parquet")
        for split in ("train", "validation", "test"):
            names = {row.id for row in data.rows(split)}
            assert len(names & {"P0", "P1", "P2"}) in (0, 3)
            assert len(names & {"P4", "P5"}) in (0, 2)


def test_trimmed_residues_have_no_token(table: Path) -> None:
    data = make(table, context=12, max_residues=None)
    for batch in [*batches_of(data, "train"), *batches_of(data, "test")]:
        for of in batch.token_of_residue.split(list(batch.residues)):
            kept = min(len(of), 10)
            assert of.tolist() == [*range(kept), *[-1] * (len(of) - kept)]


def test_the_fingerprint_knows_coordinates_and_what_is_a_contact(table: Path) -> None:
    one = make(table).data_fingerprint
    assert make(table).data_fingerprint == one
    assert make(table, cutoff_angstrom=7.0).data_fingerprint != one
    assert make(table, min_separation=6).data_fingerprint != one
    frame = pl.read_parquet(table)
    moved = frame["coordinates"].to_list()
    moved[3][5] += 0.5
    changed = frame.with_columns(pl.Series("coordinates", moved, pl.List(pl.Float32)))
    changed.write_parquet(table)
    assert make(table).data_fingerprint != one


def write_tape(folder: Path) -> Path:
    splits = {"train": [0, 1, 4], "valid": [3, 4], "test": [2, 5]}
    for name, numbers in splits.items():
        records = [
            {
                "id": f"T{i}",
                "primary": SEQUENCES[i],
                "tertiary": np.nan_to_num(places_of(len(SEQUENCES[i]), i)).tolist(),
                "valid_mask": [False, *[True] * (len(SEQUENCES[i]) - 1)],
            }
            for i in numbers
        ]
        (folder / f"proteinnet_{name}.json").write_text(json.dumps(records))
    return folder


def test_published_splits_are_kept_and_what_they_share_is_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = make(write_tape(tmp_path))
    with caplog.at_level(logging.INFO, logger="biote"):
        rows = {split: [row.id for row in data.rows(split)] for split in ("train", "test")}
    assert rows == {"train": ["train/T0", "train/T1", "train/T4"], "test": ["test/T2", "test/T5"]}
    assert data.fold is None
    assert "1 test rows have a sequence that is also in train" in caplog.text
    assert "1 validation rows have a sequence that is also in train" in caplog.text
    assert np.isnan(data.proteins["test/T2"].coordinates[0]).all()
    kept = make(tmp_path, drop_leaks=True)
    assert [row.id for row in kept.rows("train")] == ["train/T1"]
    assert [row.id for row in kept.rows("validation")] == ["validation/T3", "validation/T4"]
    assert len(kept.rows("test")) == 2


def test_repeats_within_a_published_split_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_tape(tmp_path) / "proteinnet_train.json"
    entries = json.loads(path.read_text())
    path.write_text(json.dumps([*entries, entries[1] | {"id": "again"}]))
    with caplog.at_level(logging.INFO, logger="biote"):
        assert len(make(tmp_path).rows("train")) == len(entries) + 1
    assert "1 train rows repeat a sequence of the same split" in caplog.text


def test_long_proteins_are_left_out_of_training_but_never_of_the_test(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = make(write_tape(tmp_path), max_residues=15)
    with caplog.at_level(logging.INFO, logger="biote"):
        assert [row.id for row in data.rows("train")] == ["train/T1", "train/T4"]
    assert [row.id for row in data.rows("test")] == ["test/T2", "test/T5"]
    assert "1 of 3 train proteins have more than 15 residues and are left out" in caplog.text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": ["P0"] * 6}, "P0: the id occurs twice"),
        ({"coordinates": [[0.0] * 9] * 6}, "9 coordinates for 20 residues"),
        ({"sequence": ["M-K"] * 6}, r"gap '-' at position 2"),
    ],
)
def test_rows_that_do_not_fit_are_refused(
    table: Path, change: dict[str, Any], message: str
) -> None:
    frame = pl.read_parquet(table).with_columns(**{k: pl.Series(v) for k, v in change.items()})
    frame.write_parquet(table)
    with pytest.raises(BioteError, match=message):
        make(table).rows("train")


def test_missing_files_and_columns_and_settings_are_refused(table: Path, tmp_path: Path) -> None:
    with pytest.raises(BioteError, match=r"train\.lmdb; it comes with: biote download tape-prot"):
        make(tmp_path).locate()
    with pytest.raises(BioteError, match="biote corpus maps"):
        make(tmp_path / "absent.parquet").rows("train")
    with pytest.raises(BioteError, match=r"data\.fold_file: no fold file"):
        make(table, fold_file=None).rows("train")
    with pytest.raises(BioteError, match="no column 'family'"):
        make(table, group_column="family").rows("train")
    for wrong in ({"min_separation": 0}, {"cutoff_angstrom": 0.0}):
        with pytest.raises(BioteError, match=next(iter(wrong))):
            make(table, **wrong)
