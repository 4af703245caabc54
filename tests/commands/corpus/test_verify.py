from __future__ import annotations

from pathlib import Path

import pytest

from biote.cli import main
from biote.corpora.manifest import load_info
from biote.corpora.prepare import prepare
from biote.tokenization import CharacterTokenizer


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    fasta = tmp_path / "x.fa"
    fasta.write_text("".join(f">d{i}\n{'ACGT'[i % 4] * (i + 1)}\n" for i in range(40)))
    prepare([fasta], tmp_path / "corpus", tokenizer=CharacterTokenizer(), shard_bytes=500)
    return tmp_path / "corpus"


def test_a_sound_corpus(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shards = load_info(corpus).shards
    assert main(["corpus", "verify", str(corpus)]) == 0
    shown = capsys.readouterr().out
    size = sum(shard.bytes for shard in shards)
    assert shown == (
        f"{corpus} is whole: {len(shards)} shards of {size:,} bytes with 40 units, "
        "0 window indices\n"
    )
    assert main(["corpus", "verify", str(corpus), "--deep", "--workers", "2"]) == 0
    assert "40 units by their decoded sequence\n" in capsys.readouterr().out


def test_every_fault_is_printed_and_the_first_is_the_error(
    corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second, *_ = load_info(corpus).shards
    (corpus / first.file).unlink()
    (corpus / second.file).write_bytes(b"")
    assert main(["corpus", "verify", str(corpus)]) == 2
    shown = capsys.readouterr()
    assert shown.out.splitlines() == [
        f"{corpus / first.file}: is missing",
        f"{corpus / second.file}: 0 bytes, corpus.json says {second.bytes}",
    ]
    [line] = shown.err.splitlines()
    assert line.startswith(f"biote: error: {corpus / first.file}: is missing (2 faults in all); ")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["nowhere"], "no corpus.json there"),
        (["{corpus}", "--workers", "0"], "give at least 1"),
        (["{corpus}", "--workers", "x"], "workers"),
        ([], "corpus"),
    ],
)
def test_mistakes_are_one_line(
    corpus: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    assert main(["corpus", "verify", *(option.format(corpus=corpus) for option in options)]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert message in line
