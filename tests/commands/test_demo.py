from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from PIL import Image

from biote.cli import main
from biote.synthetic.dataset import write_all


def test_the_demo_leaves_results_a_picture_and_an_encoder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, output = tmp_path / "data", tmp_path / "demo"
    write_all(data, seed=0, size="tiny")
    options = ["--data", str(data), "--output", str(output), "--tokens", "40000", "--epochs", "1"]
    assert main(["demo", *options]) == 0
    printed = capsys.readouterr().out
    assert "Data: from" in printed
    assert "$ biote fit --config demo/pretrain.yaml" in printed
    assert "Masked tokens of the validation split" in printed
    results = pl.read_parquet(output / "results.parquet")
    assert "pre-trained encoder" in results["model"].to_list()
    assert (output / "encoder" / "model.safetensors").is_file()
    with Image.open(output / "delta_g.png") as picture:
        assert picture.width > 1_000
        assert len(picture.convert("RGB").getcolors(1 << 24) or []) > 100  # it is not blank


def test_a_data_folder_that_lacks_something_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "genbank").mkdir()
    assert main(["demo", "--data", str(tmp_path), "--output", str(tmp_path / "o")]) == 2
    assert "no folder fasta/" in capsys.readouterr().err


def test_without_data_synthetic_data_are_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("BIOTE_DATA", raising=False)
    steps: list[list[str]] = []

    def stop_after_the_data(arguments: list[str]) -> None:
        steps.append(arguments)
        if arguments[0] != "synth":
            raise KeyboardInterrupt

    monkeypatch.setattr("biote.commands.demo.run_command", stop_after_the_data)
    (tmp_path / "data" / "fasta").mkdir(parents=True)
    assert main(["demo", "--output", str(tmp_path)]) == 130
    assert steps[0][:3] == ["synth", "--output", str(tmp_path / "data")]
    assert "synthetic" in capsys.readouterr().out
