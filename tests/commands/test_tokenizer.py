from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from biote.cli import main
from biote.corpora.shards import Corpus
from biote.molecules import NUCLEOTIDES, RESIDUES, Molecule, canonical_sequence
from biote.tokenization import Tokenizer, load_tokenizer


@pytest.fixture
def sources(tmp_path: Path) -> list[Path]:
    rng = np.random.default_rng(0)
    dna = "".join(rng.choice(["TATAAT", "GGCC", "CAG"], 3_000))
    protein = "".join(rng.choice(["GKT", "HELH", "DFGWY", "LLA"], 3_000))
    (tmp_path / "d.fna").write_text(f">a\n{dna}\n>b\n{dna[::-1]}\n>c[1]\nAC-GT\n")
    (tmp_path / "p.faa").write_text(f">a\n{protein}\n>b\n{protein[::-1]}\n")
    return [tmp_path / "d.fna", tmp_path / "p.faa"]


def train(*arguments: object) -> int:
    return main(["tokenizer", "train", *map(str, arguments)])


def rows(shown: str) -> dict[str, list[str]]:
    table = [[cell.strip() for cell in line.split("│")] for line in shown.splitlines()]
    return {row[1]: row[2:-1] for row in table if len(row) > 2}


def test_train_shows_what_it_sampled_and_prepare_uses_it(
    sources: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "tokenizer"
    assert not train(
        *sources, "--output", output, "--pieces", 120, "--characters", "2e4", "--seed", 3
    )
    shown = capsys.readouterr().out
    origin = json.loads((output / "training.json").read_text())
    assert (origin["seed"], origin["characters_asked"]) == (3, 20_000)
    for modality in ("nucleic", "protein"):
        model = origin["models"][modality]
        seen, sampled, held_out, pieces, compression, unknown = rows(shown)[modality]
        assert seen == f"{model['characters_seen']:,}"
        assert sampled == f"{model['characters_sampled']:,}"
        assert model["characters_sampled"] <= 20_000 < model["characters_seen"]
        counts = model["held_out"]
        assert held_out == f"{counts['characters']:,}"
        assert pieces == "120"
        assert float(compression) == pytest.approx(
            counts["characters"] / counts["tokens"], abs=5e-4
        )
        assert float(compression) > 1.5
        assert unknown == "0"
        assert f"training {modality}: 120 pieces on {sampled} characters" in shown
    assert "asked for" not in shown
    assert f"{sources[0]}: taken for DNA, 2 records\n" in shown
    assert f"{sources[1]}: taken for protein, 2 records\n" in shown
    assert f"1 bad record, listed in {output / 'ledger.jsonl'}" in shown

    corpus = tmp_path / "corpus"
    options = ["--output", str(corpus), "--tokenizer", str(output)]
    assert not main(["prepare", *map(str, sources), *options])
    assert Corpus(corpus).tokenizer.fingerprint == load_tokenizer(output).fingerprint
    capsys.readouterr()
    assert not train(
        corpus, "--output", output, "--pieces", 130, "--modality", "protein", "--overwrite"
    )
    shown = capsys.readouterr().out
    assert list(json.loads((output / "training.json").read_text())["models"]) == ["protein"]
    assert "left out" in shown
    assert "nucleic" not in rows(shown)
    assert "no bad records" in shown


def test_what_files_were_taken_for_is_shown_of_the_first_and_counted_of_the_rest(
    sources: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(22):
        (tmp_path / f"{number:02}.fa").write_text(">r\nACGT\n")
    output = tmp_path / "out"
    assert not train(tmp_path, "--output", output, "--pieces", 120)
    shown = capsys.readouterr().out
    assert [f"{n:02}.fa: taken for DNA, 1 records\n" in shown for n in range(22)].count(True) == 20
    assert f"3 more files of DNA, listed in {output / 'training.json'}\n" in shown
    assert f"1 more files of protein, listed in {output / 'training.json'}\n" in shown
    options = ("--pieces", 120, "--molecule", "protein", "--modality", "protein")
    assert not train(sources[1], "--output", tmp_path / "p", *options)
    assert f"{sources[1]}: read as protein, 2 records\n" in capsys.readouterr().out


def test_a_request_beyond_the_memory_is_said_and_cut(
    sources: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--pieces", 120, "--characters", "1e11", "--memory-gb", 0.5)
    assert not train(*sources, "--output", tmp_path / "out", *options)
    [line] = [line for line in capsys.readouterr().out.splitlines() if line.startswith("asked for")]
    origin = json.loads((tmp_path / "out/training.json").read_text())
    room = origin["characters_room"]
    assert room < 1e6
    assert line == (
        "asked for 100,000,000,000 characters; SentencePiece takes about 128 bytes a character, "
        f"so at most {room:,} of each modality are sampled to stay within 0.5 GB"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--modality", "rna"), "--modality: unknown modality 'rna'; give both, nucleic, protein"),
        (("--characters", "nan"), "characters: 'nan' is not accepted"),
        (("--characters", "1e30"), "--characters: 1e+30 cannot be"),
        (("--characters", "10"), "--characters: 10 characters are too few"),
        (("--memory-gb", "-1"), "--memory-gb: -1.0 cannot be"),
        (("--memory-gb", "0.01"), "--memory-gb: 0.01 GB are too few"),
        (("--pieces", "3"), "--pieces: 3 pieces do not hold"),
        (("--pieces", "60000"), "characters give at most"),
        (("--molecule", "xDNA"), "unknown molecule type 'xDNA'"),
        (("--molecule", "DNA"), "no protein sequence"),
    ],
)
def test_mistakes_are_one_line(
    sources: list[Path],
    tmp_path: Path,
    options: tuple[str, str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert train(*sources, "--output", tmp_path / "out", *options) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


# Not getrusage, which tells of the process that started this one if it was larger.
_MEASURED = """
import sys
from pathlib import Path
from biote.cli import main
main(sys.argv[1:])
print(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])  # kB
"""


@pytest.fixture(scope="module")
def real_tokenizer(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained on all real sequences as far as 0.8 GB of memory hold them."""
    output = tmp_path_factory.mktemp("real") / "tokenizer"
    sources = [str(real_data / name) for name in ("genbank", "fasta")]
    options = ["--output", str(output), "--characters", "1e11", "--memory-gb", "0.8"]
    shown = subprocess.run(
        [sys.executable, "-c", _MEASURED, "tokenizer", "train", *sources, *options],
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stderr == ""
    *_, peak = shown.stdout.split()
    assert int(peak) * 1024 < 0.8e9
    compression = {name: float(row[4]) for name, row in rows(shown.stdout).items() if row[3:4]}
    assert compression["nucleic"] > 4.4
    assert compression["protein"] > 2.1
    return output


def test_the_sample_of_real_sequences_fits_the_memory(real_tokenizer: Path) -> None:
    origin = json.loads((real_tokenizer / "training.json").read_text())
    for model in origin["models"].values():
        assert model["characters_seen"] > 12e6
        room = origin["characters_room"]
        assert 0.99 * room < model["characters_sampled"] <= room < 4e6
        assert model["held_out"]["unknown_tokens"] == 0
        assert model["options"]["vocab_size"] == 2048
    assert (load_tokenizer(real_tokenizer)).vocab_size == 4096


def comes_back(tokenizer: Tokenizer, text: str, molecule: Molecule) -> bool:
    encoding = tokenizer.encode(text, molecule)
    assert not np.isin(encoding.ids, tokenizer.special_ids).any()
    first = 0 if molecule.modality.value == "nucleic" else 2048
    assert ((encoding.ids >= first) & (encoding.ids < first + 2048)).all()
    assert first not in encoding.ids  # unknown
    return tokenizer.decode(encoding.ids, molecule) == text


@given(nucleic=st.text(NUCLEOTIDES), protein=st.text(RESIDUES))
def test_canonical_sequences_come_back(real_tokenizer: Path, nucleic: str, protein: str) -> None:
    tokenizer = load_tokenizer(real_tokenizer)
    assert comes_back(tokenizer, nucleic, Molecule.DNA)
    assert comes_back(tokenizer, protein, Molecule.PROTEIN)


def test_real_records_come_back(real_tokenizer: Path, real_data: Path) -> None:
    tokenizer = load_tokenizer(real_tokenizer)
    for name, molecule in (
        ("metagenomics_dna.fasta.gz", Molecule.DNA),
        ("prokka_Mitochondria_sprot.faa.gz", Molecule.PROTEIN),
    ):
        text = gzip.decompress((real_data / "fasta" / name).read_bytes()).decode()
        records = [record.split("\n", 1)[1].replace("\n", "") for record in text.split(">")[1:]]
        assert len(records) >= 100
        for record in records[:300]:
            assert comes_back(tokenizer, canonical_sequence(record, molecule), molecule)
