"""The page on adding a benchmark, followed to the letter."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import polars as pl
import pytest

from biote.cli import main

PAGE = Path(__file__).parents[1] / "docs" / "add-a-benchmark.md"


def test_the_page_adds_a_benchmark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = PAGE.read_text()
    monkeypatch.chdir(tmp_path)
    files = re.findall(r"Save as\s`([^`]+)`:\n\n```\w+\n(.*?)```", text, re.DOTALL)
    assert [name for name, _ in files] == ["strength.tsv", "strength.py", "strength.yaml"]
    for name, content in files:
        Path(name).write_text(content)
    (script,) = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    commands = [shlex.split(line) for line in script.replace("\\\n", " ").splitlines()]
    assert commands.pop(0) == ["export", "PYTHONPATH=."]
    monkeypatch.syspath_prepend(tmp_path)
    for program, *arguments in commands:
        assert program == "biote"
        assert main(arguments) == 0
    assert "ridge 1-3-mers" in capsys.readouterr().out
    results = pl.read_parquet("runs/strength/results.parquet")
    assert set(results["model"]) == {"random encoder", "train mean", "ridge 1-3-mers"}
    assert set(results["benchmark"]) == {"strength"}
    assert set(results["n"]) == {2}
    assert len(pl.read_parquet("runs/strength/predictions.parquet")) == 6


def test_a_bad_line_of_its_file_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, content in re.findall(
        r"Save as\s`([^`]+)`:\n\n```\w+\n(.*?)```", PAGE.read_text(), re.DOTALL
    ):
        Path(name).write_text(content.replace("2.5\t", "much\t"))
    monkeypatch.syspath_prepend(tmp_path)
    options = ["--model.encoder_checkpoint", "null", "--model.encoder", "encoder/tiny.yaml"]
    assert (
        main(["fit", "--config", "strength.yaml", *options, "--data.tokenizer", "character"]) == 2
    )
    assert "strength.tsv:1: not a number, a tab and a sequence" in capsys.readouterr().err
