from __future__ import annotations

from pathlib import Path

import jsonargparse
import pytest

from biote.commands import synth
from biote.errors import ConfigError, DataError


def _run(*words: str) -> None:
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    synth.add_arguments(parser)
    synth.run(parser.parse_args(list(words)))


def test_it_writes_and_shows_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _run("--output", str(tmp_path / "a"), "--size", "tiny", "--seed", "5")
    shown = capsys.readouterr().out
    assert "nucleotides" in shown
    assert "missing value" in shown
    assert (tmp_path / "a/pronab/pronab_no_mutations.json").is_file()


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(DataError, match=r"not empty.*--overwrite"):
        _run("--output", str(tmp_path), "--size", "tiny")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    _run("--output", str(tmp_path), "--size", "tiny", "--overwrite")
    assert (tmp_path / "mine.txt").read_text() == "mine"
    assert (tmp_path / "fasta").is_dir()


def test_a_file_is_no_output_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="is a file"):
        _run("--output", str(tmp_path / "file"), "--overwrite")


def test_a_negative_seed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--seed"):
        _run("--output", str(tmp_path), "--seed", "-1")


def test_an_unknown_size_is_refused(tmp_path: Path) -> None:
    with pytest.raises(jsonargparse.ArgumentError, match="size"):
        _run("--output", str(tmp_path), "--size", "huge")
