from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from PIL import Image
from torch import Tensor, nn

from biote.cli import main
from biote.commands.mup.check import synthetic_corpus
from biote.modules.readout import Readout

TINY = ["--widths", "32", "64", "--layers", "1", "--steps", "1", "--seeds", "1"]


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic_corpus(tmp_path_factory.mktemp("synthetic"), size="tiny")


def test_the_check_leaves_a_table_and_a_picture_and_says_flat(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--corpus", str(corpus), "--output", str(tmp_path), "--seeds", "2", "--steps", "3"]
    assert main(["mup", "check", *options, "--widths", "96", "32", "--layers", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("muP: flat.") for line in lines)
    assert any(line.startswith("standard parametrisation: not flat.") for line in lines)
    table = pl.read_parquet(tmp_path / "coordinate_check.parquet")
    assert set(table["activation"]) == {"attention 1", "feed-forward 1", "states 1", "logits"}
    # Parametrisations, widths, seeds, steps 0 to 3, activations.
    assert table.height == 2 * 2 * 2 * 4 * 4
    assert table["size"].is_finite().all()
    with Image.open(tmp_path / "coordinate_check.png") as picture:
        assert picture.width > 1_000
        assert len(picture.convert("RGB").getcolors(1 << 24) or []) > 100  # it is not blank


def test_sizes_that_grow_in_mup_are_exit_code_1(
    corpus: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def without_factor(self: Readout, states: Tensor) -> Tensor:
        return nn.functional.linear(states, self.weight)

    monkeypatch.setattr(Readout, "forward", without_factor)
    with pytest.raises(SystemExit) as stop:
        main(["mup", "check", *TINY, "--corpus", str(corpus), "--output", str(tmp_path)])
    assert stop.value.code == 1
    printed = capsys.readouterr().out
    assert "muP: not flat. Steepest: logits, mean slope +" in printed
    assert (tmp_path / "coordinate_check.png").is_file()


def test_without_a_corpus_synthetic_data_are_made_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["mup", "check", *TINY, "--tolerance", "9", "--output", str(tmp_path)]
    assert main(command) == 0
    assert "synthetic" in capsys.readouterr().out
    first = pl.read_parquet(tmp_path / "coordinate_check.parquet")
    made = (tmp_path / "synthetic/tiny/corpus/corpus.json").stat().st_mtime_ns
    assert main(command) == 0
    assert (tmp_path / "synthetic/tiny/corpus/corpus.json").stat().st_mtime_ns == made
    assert pl.read_parquet(tmp_path / "coordinate_check.parquet").equals(first)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--widths", "32", "48"], "48 is not a number of heads of 32 features"),
        (["--widths", "64", "64"], "one width has no slope"),
        (["--steps", "0"], "--steps"),
        (["--lr", "0"], "--lr"),
        (["--seeds", "-1"], "--seeds"),
        (["--corpus", "nowhere"], "nowhere"),
    ],
)
def test_a_mistake_is_one_line(
    options: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["mup", "check", "--output", str(tmp_path / "out"), *options]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "out").exists()
