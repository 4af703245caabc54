from __future__ import annotations

from pathlib import Path

import pytest

from biote.cli import main
from biote.corpora.manifest import load_info
from biote.corpora.prepare import prepare
from biote.molecules import Molecule
from biote.tokenization import CharacterTokenizer


def build(folder: Path, sequences: list[str]) -> Path:
    fasta = folder.with_suffix(".fa")
    fasta.write_text("".join(f">{folder.name}{i}\n{s}\n" for i, s in enumerate(sequences)))
    prepare([fasta], folder, tokenizer=CharacterTokenizer(), shard_bytes=300)
    return folder


@pytest.fixture
def inputs(tmp_path: Path) -> list[str]:
    sequences = ["ACGT"[i % 4] * (i + 1) for i in range(20)]
    return [str(build(tmp_path / "a", sequences)), str(build(tmp_path / "b", sequences[10:]))]


def test_options_reach_the_merge(
    inputs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    command = ["corpus", "merge", *inputs, "--output", str(output)]
    assert main(command) == 0
    assert f"{output} (corpora merged: 2, shards: 1)\n" in capsys.readouterr().out
    assert load_info(output).molecules[Molecule.DNA].records == 30
    assert main([*command, "--drop-duplicates"]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main([*command, "--drop-duplicates", "--overwrite", "--shard-bytes", "300"]) == 0
    info = load_info(output)
    assert (info.molecules[Molecule.DNA].records, info.molecules[Molecule.DNA].duplicates) == (
        20,
        10,
    )
    assert len(info.shards) > 3
    assert main(["corpus", "verify", str(output), "--deep"]) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["{0}", "{0}", "--output", "{out}"], "the same corpus as"),
        (["{0}", "nowhere", "--output", "{out}"], "no corpus.json there"),
        (["{0}", "{1}", "--output", "{1}"], "is an input and the output"),
        (["{0}", "--output", "{out}", "--shard-bytes", "-1"], "give 1 to 2,000,000,000"),
        (["{0}"], "output"),
        (["--output", "{out}"], "corpora"),
    ],
)
def test_mistakes_are_one_line(
    inputs: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    message: str,
) -> None:
    out = tmp_path / "out"
    assert main(["corpus", "merge", *(option.format(*inputs, out=out) for option in options)]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert message in line
    assert not out.exists()
