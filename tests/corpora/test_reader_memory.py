from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc to ask for memory"),
]

PEAK_MB = 160
"""A spool holds 64 MB and grows by an eighth; the interpreter with its libraries and what is read
at once come to some 30 MB more. A reader that held a record of 250 MB once would be over."""

SCRIPT = """
import sys, threading, time
from pathlib import Path
from biote.corpora.records import Record
from biote.corpora.sources import find_sources, read_source
from biote.molecules import Molecule

peak, done = 0, False

def watch():
    global peak
    while not done:
        for line in open("/proc/self/status"):
            if line.startswith("RssAnon"):
                peak = max(peak, int(line.split()[1]) // 1024)
        time.sleep(0.002)

watcher = threading.Thread(target=watch)
watcher.start()
(source,) = find_sources([Path(sys.argv[1])])
lengths = []
for record in read_source(source, None, scratch=Path(sys.argv[2])):
    assert isinstance(record, Record), record
    letters = record.sequence
    lengths.append(len(letters))
    for start in range(0, len(letters), 1_000_000):
        assert not letters[start:start + 1_000_000].translate(None, b"acgtMKVL")
    del record, letters
done = True
watcher.join()
print(peak, *lengths)
"""


def peak_and_lengths(path: Path) -> tuple[int, list[int]]:
    scratch = path.parent / "scratch"
    scratch.mkdir()
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, path, scratch], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert list(scratch.iterdir()) == []
    peak, *lengths = map(int, run.stdout.split())
    return peak, lengths


@pytest.mark.parametrize("newline", [b"", b"\n"], ids=["one line", "lines"])
def test_a_protein_of_300_mb_costs_no_memory(tmp_path: Path, newline: bytes) -> None:
    path = tmp_path / "x.fasta"
    with path.open("wb") as stream:
        stream.write(b">small\nMKVL\n>long one\n")
        for _ in range(300):
            stream.write((b"MKVLMKVLMK" * 5 + newline) * 20_000)
        stream.write(b"\n>after\nMKVL\n")
    peak, lengths = peak_and_lengths(path)
    assert lengths == [4, 300_000_000, 4]
    assert peak < PEAK_MB


def test_a_chromosome_of_250_mb_costs_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "x.gb"
    line = b"        1 " + b" ".join([b"acgtacgtac"] * 5) + b"\n"
    with path.open("wb") as stream:
        stream.write(b"LOCUS       BIG 250000000 bp DNA linear\nVERSION     BIG.1\nORIGIN\n")
        for _ in range(250):
            stream.write(line * 20_000)
        stream.write(b"//\nLOCUS       SMALL 4 bp DNA linear\nORIGIN\n        1 acgt\n//\n")
    peak, lengths = peak_and_lengths(path)
    assert lengths == [250_000_000, 4]
    assert peak < PEAK_MB
