from __future__ import annotations

import gzip
import hashlib
import json
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from biote.cli import main
from biote.corpora.download.catalogue import FixedFiles, RemoteFile, find_dataset
from biote.corpora.download.files import PlannedFile


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Folder that `mirror` serves."""
    folder = tmp_path / "site"
    folder.mkdir()
    return folder


@pytest.fixture
def mirror(site: Path) -> Iterator[str]:
    handler = partial(_Quiet, directory=str(site))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


def uniref(site: Path, proteins: int = 50) -> bytes:
    content = gzip.compress(
        "".join(
            f">UniRef50_{n} x\nMKV{'ACDEFGHIKL'[n % 10] * 30}\n" for n in range(proteins)
        ).encode()
    )
    (site / "uniref50.fasta.gz").write_bytes(content)
    (site / "RELEASE.metalink").write_text(
        '<metalink xmlns="http://www.metalinker.org/"><version>2025_01</version><files>'
        f'<file name="uniref50.fasta.gz"><size>{len(content)}</size><verification>'
        f'<hash type="md5">{hashlib.md5(content).hexdigest()}</hash>'
        "</verification></file></files></metalink>"
    )
    return content


def test_the_list_names_every_dataset(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["download", "--list"]) == 0
    text = capsys.readouterr().out
    for name in (
        "genbank uniref100 uniref90 uniref50 pronab jaspar gue tape proteinglue pdb "
        "tape-stability tape-proteinnet"
    ).split():
        assert f" {name} " in text
    assert "CC BY 4.0" in text


def test_a_dry_run_fetches_nothing(
    site: Path, mirror: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    size = len(uniref(site))
    out = tmp_path / "out"
    command = ["download", "uniref50", "--output", str(out), "--address", mirror, "--dry-run"]
    assert main(command) == 0
    text = capsys.readouterr().out
    assert (
        f"{out}/uniref50/uniref50.fasta.gz  {size} B  missing  {mirror}/uniref50.fasta.gz" in text
    )
    assert "uniref50 (release 2025_01): 1 files, 0 there and checked, 1 to fetch" in text
    assert not out.exists()


def test_a_download_is_verified_skipped_the_next_time_and_ready_for_prepare(
    site: Path, mirror: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = uniref(site)
    out = tmp_path / "out"
    command = ["download", "uniref50", "--output", str(out), "--address", mirror]
    assert main(command) == 0
    text = capsys.readouterr().out
    assert (out / "uniref50/uniref50.fasta.gz").read_bytes() == content
    assert sorted(path.name for path in (out / "uniref50").iterdir()) == [
        "download.json",
        "uniref50.fasta.gz",
    ]
    (said,) = [line for line in text.splitlines() if line.startswith("next: ")]
    following = said.removeprefix("next: biote ").replace("CORPUS", str(tmp_path / "corpus"))
    assert main(following.split()) == 0
    corpus = json.loads((tmp_path / "corpus" / "corpus.json").read_text())
    assert corpus["molecules"]["protein"]["records"] == 50

    (site / "uniref50.fasta.gz").unlink()
    capsys.readouterr()
    assert main(command) == 0
    assert "1 there and checked, 0 to fetch" in capsys.readouterr().out


def test_genbank_by_division(
    site: Path, mirror: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (site / "GB_Release_Number").write_text("264\n")
    for name in ("gbbct1", "gbbct2", "gbvrl1", "gbpln1"):
        (site / f"{name}.seq.gz").write_bytes(gzip.compress(name.encode()))
    out = tmp_path / "out"
    command = ["download", "genbank", "--output", str(out), "--address", mirror]
    assert main([*command, "--division", "BCT,vrl"]) == 0
    assert sorted(path.name for path in (out / "genbank").glob("*.gz")) == [
        "gbbct1.seq.gz",
        "gbbct2.seq.gz",
        "gbvrl1.seq.gz",
    ]
    assert f"next: biote prepare {out}/genbank --output CORPUS" in capsys.readouterr().out
    assert main([*command, "--division", "abc"]) == 2
    assert "no division abc" in capsys.readouterr().err


@pytest.mark.parametrize("output", [[], ["--output", "data"]])
def test_a_manual_source_prints_its_steps(
    output: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["download", "gue", "proteinglue", *output]) == 0
    text = capsys.readouterr().out
    assert "1. open https://drive.google.com/file/d/1GRtbzTe3UXYF1oW27ASNhYX3SZ16D7N2/view" in text
    assert "1. open https://www.ibi.vu.nl/downloads/ProteinGLUE/" in text
    assert f"{'data' if output else 'DIR'}/gue" in text


class TestLarge:
    """Downloads over 1 GB, here over 100 bytes."""

    @pytest.fixture
    def command(
        self, site: Path, mirror: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> list[str]:
        uniref(site)
        monkeypatch.setattr("biote.commands.download._ASK_ABOVE_BYTES", 100)
        return ["download", "uniref50", "--output", str(tmp_path / "out"), "--address", mirror]

    def test_without_a_terminal_it_needs_a_word(
        self, command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(command) == 2
        error = capsys.readouterr().err
        assert "to fetch; add --yes to go ahead" in error
        assert error.count("\n") == 1
        assert not (tmp_path / "out").exists()
        assert main([*command, "--yes"]) == 0
        assert main(command) == 0  # nothing is left to fetch

    @pytest.mark.parametrize("answer", ["y", "n"])
    def test_on_a_terminal_it_asks(
        self,
        command: list[str],
        answer: str,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
        monkeypatch.setattr("builtins.input", lambda *_: answer)
        assert main(command) == 0
        assert (tmp_path / "out/uniref50/uniref50.fasta.gz").exists() == (answer == "y")
        assert ("nothing fetched" in capsys.readouterr().out) == (answer == "n")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "no dataset named; biote download --list shows them"),
        (["genbnk"], "no dataset 'genbnk'; did you mean genbank?"),
        (["uniref50"], "--output: no folder to write to"),
        (["uniref50", "--output", "o", "--division", "bct"], "--division: only genbank"),
        (["genbank", "--output", "o", "--ids", "1LCD"], "--ids: only pdb"),
        (["pdb", "--output", "o"], "--ids: pdb needs the ids"),
        (["jaspar", "tape", "--output", "o", "--address", "http://x"], "cannot serve 2 datasets"),
        (["jaspar", "--output", "o", "--address", "gopher://x"], "not an address to download"),
        (["jaspar", "--output", "o", "--address", "http://h:x/"], "not an address to download"),
        (["genbank", "--output", "o", "--division", ""], "--division: no division named"),
        (["jaspar", "--output", "o", "--retries", "-1"], "retries"),
    ],
)
def test_mistakes_are_one_line(
    options: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["download", *options]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


def test_a_server_without_the_file_is_one_line(
    mirror: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["download", "jaspar", "--output", str(tmp_path / "o"), "--address", mirror]
    assert main(command) == 2
    error = capsys.readouterr().err
    assert "_pfms_jaspar.txt: not on the server (404" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "o").exists()


def test_the_last_line_says_how_each_file_was_checked(
    site: Path, mirror: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    uniref(site)
    command = ["download", "uniref50", "--output", str(tmp_path), "--address", mirror]
    for _ in range(2):
        assert main(command) == 0
        assert f"1 files in {tmp_path}/uniref50, checked: 1 by MD5" in capsys.readouterr().out
    (site / "1abc.cif.gz").write_bytes(gzip.compress(b"data"))
    command = ["download", "pdb", "--ids", "1abc", "--output", str(tmp_path), "--address", mirror]
    for _ in range(2):
        assert main(command) == 0
        assert "checked: 1 by size and as whole gzip" in capsys.readouterr().out
    (tmp_path / "pdb/download.json").unlink()
    for _ in range(2):
        assert main(command) == 0
        assert "checked: 1 by size\n" in capsys.readouterr().out


def test_datasets_that_overlap_are_fetched_once(
    site: Path,
    mirror: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    whole, part = find_dataset("tape"), find_dataset("tape-stability")
    assert isinstance(whole.contents, FixedFiles)
    for file in whole.contents.files:
        (site / file.path).write_bytes(gzip.compress(file.path.encode()))
    plain = {
        dataset.name: replace(
            dataset,
            address=mirror,
            contents=FixedFiles(files=tuple(RemoteFile(path=file.path) for file in files.files)),
        )
        for dataset in (whole, part)
        if isinstance(files := dataset.contents, FixedFiles)
    }
    monkeypatch.setattr("biote.corpora.download.catalogue.find_dataset", plain.__getitem__)
    fetched: list[str] = []

    def fetch_file(file: PlannedFile, *_: object, **__: object) -> str:
        fetched.append(file.target.name)
        file.target.write_bytes(b"1")
        return "by hand"

    monkeypatch.setattr("biote.corpora.download.fetch.fetch_file", fetch_file)
    assert main(["download", "tape", "tape-stability", "--output", str(tmp_path / "o")]) == 0
    assert len(fetched) == len(set(fetched)) == len(whole.contents.files)
    shown = capsys.readouterr().out
    assert "tape: 5 files, 0 there" in shown
    assert "tape-stability: its files are among those above" in shown
    assert "checked: 5 by hand" in shown


def test_sizes_that_nobody_tells_are_asked_about(
    site: Path,
    mirror: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (site / "1abc.cif.gz").write_bytes(gzip.compress(b"data"))
    monkeypatch.setattr("biote.corpora.download.over_http.HttpTransport.size", lambda *_: None)
    command = ["download", "pdb", "--ids", "1abc", "--output", str(tmp_path), "--address", mirror]
    assert main(command) == 2
    assert "0 B and 1 files of unknown size to fetch; add --yes" in capsys.readouterr().err
    assert main([*command, "--yes"]) == 0
    assert "1 files in" in (shown := capsys.readouterr().out)
    assert "checked: 1 by size and as whole gzip" in shown
