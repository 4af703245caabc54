from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from biote.cli import main
from biote.corpora.manifest import load_info
from biote.corpora.prepare import prepare
from biote.corpora.shards import Corpus
from biote.corpora.windows import open_windows
from biote.tokenization import CharacterTokenizer


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    dna, protein = tmp_path / "x[1].fa", tmp_path / "y.faa"
    dna.write_text("".join(f">d{i}\n{'ACGT'[i % 4] * (i + 1)}\n" for i in range(20)) + ">e\n\n")
    protein.write_text("".join(f">p{i}\nMELW{'K' * (i // 2)}\n" for i in range(10)))
    prepare(
        [dna, protein],
        tmp_path / "corpus",
        tokenizer=CharacterTokenizer(),
        validation_fraction=0.3,
        drop_duplicates=True,
    )
    return tmp_path / "corpus"


def test_table_in_full_width(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["corpus", "info", str(corpus)]) == 0
    shown = capsys.readouterr().out
    info = load_info(corpus)
    rows = [[cell.strip() for cell in line.split("│")] for line in shown.splitlines()]
    rows = [row[1:-1] for row in rows if len(row) > 2]
    held = [str(counts.validation_units) for counts in info.molecules.values()]
    every = str(sum(map(int, held)))
    assert rows == [
        ["DNA", "20", "210", "87.50", "210", "20", held[0], "0"],
        ["protein", "5", "30", "12.50", "30", "5", held[1], "5"],
        ["all", "25", "240", "100.00", "240", "25", every, "5"],
    ]
    for line in (
        "read as DNA by the letters: x[1].fa",
        f"1 bad records, listed in {corpus / 'ledger.jsonl'}:",
        f"tokenizer: character, 49 ids, ambiguity canonical, fingerprint "
        f"{info.tokenizer_fingerprint}",
        "drop_duplicates True",
        f"fingerprint {info.fingerprint}",
        "sources: 2 (2 fasta)",
        "30 records read, 1 bad",
    ):
        assert line in shown
    assert f"shards: {len(info.shards)}, " in shown
    assert "window indices" not in shown
    assert info.sources[0].sha256 not in shown


def test_sources_and_windows_are_listed(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    index = open_windows(Corpus(corpus), context=9, split="train")
    assert main(["corpus", "info", str(corpus), "--sources"]) == 0
    shown = capsys.readouterr().out
    assert f"window indices: {index.path.name} ({len(index):,} windows)" in shown
    source = corpus.parent / "x[1].fa"
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    assert f"{digest}  {source}  fasta DNA  {source.stat().st_size:,} bytes, 20 records" in shown


def test_json_is_one_object(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["corpus", "info", str(corpus), "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    info = load_info(corpus)
    assert content["molecules"]["protein"]["duplicates"] == 5
    assert content["molecules"]["DNA"]["share_percent"] == 87.5
    assert content["molecules"]["all"]["residues"] == 240
    assert content["fingerprint"] == info.fingerprint
    assert content["shards"]["bytes"] == sum(shard.bytes for shard in info.shards)
    assert content["settings"]["drop_duplicates"] is True
    [bad] = content["bad_records"]
    assert (bad["number"], bad["first"]["record"]) == (1, "e")
    assert "source_files" not in content
    main(["corpus", "info", str(corpus), "--json", "--sources"])
    content = json.loads(capsys.readouterr().out)
    assert [source["records"] for source in content["source_files"]] == [20, 10]


@pytest.mark.parametrize("file", ["corpus.json", "ledger.jsonl", "tokenizer.json"])
def test_what_cannot_be_read_is_one_line(
    corpus: Path, capsys: pytest.CaptureFixture[str], file: str
) -> None:
    (corpus / file).write_bytes(b"\xff{")
    assert main(["corpus", "info", str(corpus)]) == 2
    (corpus / file).unlink()
    assert main(["corpus", "info", str(corpus)]) == 2
    shown = capsys.readouterr()
    assert len(shown.err.splitlines()) == 2
    assert shown.err.count(file) == 2
    assert not shown.out
