from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from biote.cli import main
from biote.corpora.prepare import prepare
from biote.tokenization import CharacterTokenizer

SEQUENCES = {f"d{i}": "ACGT"[i % 4] * (i + 1) for i in range(90)} | {"p": "MELW"}


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    files = []
    for name in ("d", "p"):
        files.append(tmp_path / f"{name}.fa")
        some = {i: s for i, s in SEQUENCES.items() if i.startswith(name)}
        files[-1].write_text("".join(f">{i} about it\n{s}\n" for i, s in some.items()))
    prepare(files, tmp_path / "corpus", tokenizer=CharacterTokenizer(), shard_bytes=2000)
    return tmp_path / "corpus"


def parse(text: str) -> dict[str, str]:
    found = {}
    for record in text.split(">")[1:]:
        header, *lines = record.splitlines()
        name, molecule, length = header.split()
        found[name] = "".join(lines)
        assert int(length) == len(found[name])
        assert molecule == ("protein" if name == "p" else "DNA")
        assert max(map(len, lines)) <= 60
    return found


def test_fasta_and_nothing_else_is_printed(
    corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["corpus", "sample", str(corpus)]) == 0
    shown = capsys.readouterr()
    assert not shown.err
    assert shown.out.startswith(">")
    some = parse(shown.out)
    assert len(some) == 10
    assert some.items() <= SEQUENCES.items()
    main(["corpus", "sample", str(corpus), "--seed", "1"])
    assert parse(capsys.readouterr().out) != some


def test_all_of_them_if_there_are_fewer(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "x.fasta"
    command = ["corpus", "sample", str(corpus), "--records", "1000"]
    assert main([*command, "--output", str(output)]) == 0
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", "1,000 records asked for, there are 91\n")
    assert parse(output.read_text()) == SEQUENCES
    assert main([*command, "--molecule", "protein"]) == 0
    shown = capsys.readouterr()
    assert parse(shown.out) == {"p": "MELW"}
    assert shown.err == "1,000 records asked for, there are 1\n"


def test_splits_are_drawn_from(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = []
    for split in ("train", "validation"):
        main(["corpus", "sample", str(corpus), "--records", "1000", "--split", split])
        found.append(parse(capsys.readouterr().out))
    assert found[0] | found[1] == SEQUENCES
    assert not found[0].keys() & found[1].keys()
    assert found[1]


def test_a_reader_that_stops_is_no_mistake(corpus: Path) -> None:
    command = [sys.executable, "-m", "biote", "corpus", "sample", str(corpus), "--records", "90"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--records", "0"], "give at least 1"),
        (["--seed", "-1"], "give 0 or more"),
        (["--molecule", "xDNA"], "unknown molecule type"),
        (["--molecule", "tRNA"], "holds no tRNA; it holds DNA, protein"),
        (["--split", "test"], "split"),
        (["--output", "{corpus}/corpus.json/x"], "cannot be written"),
    ],
)
def test_mistakes_are_one_line(
    corpus: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    given = [option.format(corpus=corpus) for option in options]
    assert main(["corpus", "sample", str(corpus), *given]) == 2
    shown = capsys.readouterr()
    [line] = shown.err.splitlines()
    assert message in line
    assert not shown.out
