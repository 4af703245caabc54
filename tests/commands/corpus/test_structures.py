from __future__ import annotations

import os
from pathlib import Path

import gemmi
import numpy as np
import polars as pl
import pytest

from biote.cli import main


@pytest.fixture(scope="module")
def structures() -> Path:
    folder = os.environ.get("BIOTE_DATA")
    if not folder:
        pytest.skip("BIOTE_DATA is not set: no real data")
    return Path(folder) / "structures"


def test_contacts_shows_counts_shares_and_what_was_refused(
    structures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = ["complexes/dna/1LCD.cif.gz", "complexes/dna/1LCD.pdb.gz", "proteins/1orc.pdb.gz"]
    output = tmp_path / "contacts.parquet"
    arguments = ["corpus", "contacts", *(str(structures / f) for f in files)]
    assert main([*arguments, "--output", str(output)]) == 0
    shown = capsys.readouterr().out
    assert "within 8 angstrom: 33 of 51 resolved residues, 0.647\n" in shown
    assert "within 4 angstrom: 19 of 51 resolved residues, 0.373\n" in shown
    assert "refused: 2 of 3 files\n" in shown
    assert "  1 x no nucleic chain, first " in shown
    assert f"ledger: {output}.ledger.jsonl" in shown
    (row,) = pl.read_parquet(output).to_dicts()
    assert (row["id"], row["source"], row["n_models"]) == ("1LCD", str(structures / files[0]), 3)

    assert main([*arguments, "--output", str(output)]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main(["corpus", "contacts", str(tmp_path / "none"), "--output", str(output) + "2"]) == 2
    assert "no such file or folder" in capsys.readouterr().err


def test_paint_writes_a_structure_and_a_picture(
    structures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = str(structures / "complexes/dna/1LCD.cif.gz")
    values = np.linspace(0, 1, 51).round(3)
    table = tmp_path / "predictions.parquet"
    pl.DataFrame(
        {
            "row_id": ["1LCD"] * 102,
            "position": list(range(51)) * 2,
            "prediction": [*values, *(1 - values)],
            "model": ["a"] * 51 + ["b"] * 51,
        }
    ).write_parquet(table)
    output = tmp_path / "painted.cif"
    arguments = ["corpus", "paint", source, str(table), "--output", str(output)]
    assert main(arguments) == 2
    assert "several values for one residue of 1LCD" in capsys.readouterr().err
    assert main([*arguments, "--where", "model=a"]) == 0
    assert "51 of 51 resolved residues painted" in capsys.readouterr().out
    assert (tmp_path / "painted.png").read_bytes().startswith(b"\x89PNG")
    chain = gemmi.read_structure(str(output))[0]["A"]
    found = [residue[0].b_iso for residue in chain if residue.label_seq is not None]
    np.testing.assert_allclose(found, values * 100, atol=0.0051)


def test_maps_can_be_fitted_and_tested_beside_the_baseline(
    structures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["1A8O.cif.gz", "1orc.pdb.gz", "1SAP.pdb.gz", "1ZUG.pdb.gz"]
    output = tmp_path / "maps.parquet"
    files = [str(structures / "proteins" / name) for name in names]
    assert main(["corpus", "maps", *files, "--output", str(output)]) == 0
    assert "refused: 0 of 4 files" in capsys.readouterr().out
    run = ["--trainer.default_root_dir", str(tmp_path / "run"), "--trainer.accelerator", "cpu"]
    options = [
        *("--config", "benchmark/tape_contacts_quick.yaml", *run, "--trainer.max_epochs", "1"),
        *("--data.root", str(output), "--data.fold_file", str(tmp_path / "folds.parquet")),
        *("--data.folds", "3", "--data.tokenizer", "character"),
        *("--model.encoder_checkpoint", "null"),
        *("--model.encoder", '{"width": 16, "layers": 1, "heads": 2, "context": 1024}'),
    ]
    assert main(["fit", *options]) == 0
    capsys.readouterr()
    assert main(["test", "--config", str(tmp_path / "run" / "config.yaml")]) == 0
    shown = capsys.readouterr().out
    assert "contact frequency by separation" in shown
    results = pl.read_parquet(tmp_path / "run" / "results.parquet")
    assert set(results["model"]) == {"random encoder", "contact frequency by separation"}
    assert {"p_at_l5_medium_long", "auprc", "precision"} <= set(results["metric"])
