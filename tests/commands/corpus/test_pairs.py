from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from biote.cli import main

RECORD = """LOCUS       R 18 bp    DNA     linear   UNK 01-JAN-2000
VERSION     R.1
FEATURES             Location/Qualifiers
     CDS             join(1..5,10..13)
                     /translation="MA"
     CDS             1..9
                     /pseudo
     CDS             <1..9
                     /translation="MAV"
     CDS             2..9
                     /pseudo
ORIGIN
        1 atggcgtaag taaccccc
//
LOCUS       S 18 bp    DNA     linear   UNK 01-JAN-2000
VERSION     S.1
//
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "x[1].gb"
    path.write_text(RECORD)
    return path


def test_pairs_shows_what_went_in_and_what_was_left_out(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "pairs.parquet"
    assert main(["corpus", "pairs", str(source), "--output", str(output)]) == 0
    shown = capsys.readouterr().out
    assert pq.read_table(output)["gene_sequence"].to_pylist() == ["ATGGCGTAAGTAA"]
    rows = [[cell.strip() for cell in line.split("│")] for line in shown.splitlines()]
    assert ["", "1", "2", "4", "1", "1", "3", "1", ""] in rows
    assert "CDS left out: 3\n" in shown
    assert f"  2 x pseudogene, first {source}:6 R.1 CDS 1..9\n" in shown
    assert f"  1 x partial feature, first {source}:8 R.1 CDS <1..9\n" in shown
    assert "bad records: 1\n" in shown
    assert f"  1 x no sequence in the record, first {source}:15 S.1\n" in shown
    assert f"ledger: {output}.ledger.jsonl" in shown


def test_options(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source.write_text(
        RECORD.partition("     CDS             1..9")[0] + RECORD[RECORD.index("ORI") :]
    )
    arguments = ["corpus", "pairs", str(source), "--output", str(tmp_path / "pairs.parquet")]
    assert main([*arguments, "--workers", "2"]) == 0
    assert "CDS left out: 0\nbad records: 1\n" in capsys.readouterr().out
    assert main(arguments) == 2
    assert "is there already; name another or --overwrite" in capsys.readouterr().err
    assert main([*arguments, "--overwrite"]) == 0
    assert main([*arguments, "--workers", "none"]) == 2


_FULL = """
import resource, sys
if __name__ == "__main__":
    from biote.cli import main
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
    sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_a_disk_without_room_is_one_line(source: Path, tmp_path: Path, workers: int) -> None:
    script, output = tmp_path / "full.py", tmp_path / "out/pairs.parquet"
    script.write_text(_FULL)  # a file, because workers read the script that began
    command = ["corpus", "pairs", source, "--output", output, "--workers", workers]
    run = [sys.executable, script, *command]
    shown = subprocess.run(list(map(str, run)), capture_output=True, text=True, check=False)
    assert shown.returncode == 2
    assert shown.stderr == f"biote: error: {output}: File too large; free the way and run again\n"
    assert shown.stdout == ""
    assert list(output.parent.iterdir()) == []


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys, biote.commands.corpus.pairs\n"
        "print([m for m in ('numpy', 'pyarrow', 'torch', 'rich', 'gb_io') if m in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"
