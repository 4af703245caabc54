from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import jsonargparse
import pytest

from biote.commands import prepare as command
from biote.corpora.shards import Corpus
from biote.errors import BioteError, DataError
from biote.molecules import Molecule


def run(*arguments: object) -> None:
    parser = jsonargparse.ArgumentParser()
    command.add_arguments(parser)
    command.run(parser.parse_args([str(argument) for argument in arguments]))


@pytest.fixture
def fasta(tmp_path: Path) -> Path:
    path = tmp_path / "x[1].fa"
    path.write_text(">a\nACGT\n>b\nAC-GT\n>c\nGGA\n>d\n\n")
    return path


def test_prepare_shows_counts_bad_records_and_notes(
    fasta: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "y.fa"
    other.write_text(">p\nMEL\n")
    run(fasta, other, "--output", tmp_path / "out", "--validation-fraction", 0.01)
    shown = capsys.readouterr().out
    corpus = Corpus(tmp_path / "out")
    assert corpus.n_units == 3
    assert corpus.info.validation.fraction == 0.01
    rows = [[cell.strip() for cell in line.split("│")] for line in shown.splitlines()]
    assert ["", "DNA", "2", "7", "70.00", "7", "2", "1", "0", ""] in rows
    assert ["", "protein", "1", "3", "30.00", "3", "1", "0", "0", ""] in rows
    assert ["", "all", "3", "10", "100.00", "10", "3", "1", "0", ""] in rows
    assert "read as DNA by the letters: x[1].fa" in shown
    assert "note: protein: no validation unit" in shown
    assert f"2 bad records, listed in {tmp_path / 'out/ledger.jsonl'}" in shown
    assert f"1 x character outside the alphabet, first {fasta}:3 b" in shown
    assert f"1 x no sequence in the record, first {fasta}:7 d" in shown


def test_options_reach_the_corpus(fasta: Path, tmp_path: Path) -> None:
    run(fasta, "--output", tmp_path / "out", "--molecule", "trna", "--workers", 2)
    corpus = Corpus(tmp_path / "out")
    assert list(corpus.info.molecules) == [Molecule.TRNA]
    with pytest.raises(DataError, match="--overwrite"):
        run(fasta, "--output", tmp_path / "out")
    run(fasta, "--output", tmp_path / "out", "--overwrite", "--tokenizer", tmp_path / "out")
    assert list(Corpus(tmp_path / "out").info.molecules) == [Molecule.DNA]
    assert Corpus(tmp_path / "out").tokenizer.fingerprint == corpus.tokenizer.fingerprint


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--molecule", "xDNA", "unknown molecule type 'xDNA'; known types: DNA, mRNA"),
        ("--tokenizer", "nowhere", r"no tokenizer\.json there"),
        ("--workers", 0, "give at least 1"),
        ("--validation-fraction", 2, "give a number from 0 to below 1"),
    ],
)
def test_mistakes_are_one_line(
    fasta: Path, tmp_path: Path, option: str, value: object, message: str
) -> None:
    with pytest.raises(BioteError, match=message):
        run(fasta, "--output", tmp_path / "out", option, value)
    assert not (tmp_path / "out").exists()


def test_help_is_there_and_imports_nothing_heavy() -> None:
    assert command.__doc__ is not None
    assert command.__doc__.splitlines()[0].endswith(".")
    code = (
        "import sys, biote.commands.prepare\n"
        "print([m for m in ('numpy', 'pyarrow', 'torch', 'rich', 'sentencepiece')"
        " if m in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"
