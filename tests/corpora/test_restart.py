"""Interrupted preparations end in the bytes of uninterrupted ones."""

from __future__ import annotations

import gzip
import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from biote.corpora.manifest import CORPUS_FILE
from biote.corpora.prepare import Report, prepare
from biote.errors import DataError
from biote.tokenization import CharacterTokenizer

# Options that make many parts and shards of small files.
SMALL = {"shard_bytes": 2_000, "block_bytes": 3_000}
SCRIPT = """
import os, signal, sys
from pathlib import Path
from biote.corpora.prepare import prepare
from biote.tokenization import CharacterTokenizer

calls, real = 0, os.fsync

def count(handle):
    global calls
    calls += 1
    if calls == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
    real(handle)

os.fsync = count
prepare([Path(sys.argv[1])], Path(sys.argv[2]), tokenizer=CharacterTokenizer(),
        shard_bytes=2_000, block_bytes=3_000, drop_duplicates=True)
print(calls)
"""


def genbank(name: str, letters: str) -> str:
    lines = "".join(
        f"{i + 1:>9} {letters[i : i + 60]}\n".lower() for i in range(0, len(letters), 60)
    )
    locus = f"LOCUS       {name} {len(letters)} bp    DNA     linear   BCT 11-OCT-2001"
    return f"{locus}\nVERSION     {name}.1\nORIGIN\n{lines}//\n"


def write_inputs(folder: Path, *, files: int = 4, bases: int = 1_500) -> Path:
    """Files of every format: three parts or more of each large FASTA file, some bad records."""
    rng = random.Random(0)
    folder.mkdir()

    def draw(letters: str, length: int) -> str:
        return "".join(rng.choices(letters, k=length))

    for i in range(files):
        text = "".join(genbank(f"G{i}{j}", draw("ACGT", bases)) for j in range(3))
        (folder / f"g{i}.gb.gz").write_bytes(
            gzip.compress(text.replace(f"{bases} bp", "7 bp", i == 1).encode(), mtime=0)
        )
    proteins = [(f"p{i}", draw("ACDEFGHIKLMNPQRSTVWY", 50 + i)) for i in range(120)]
    proteins[60:62] = [("same", proteins[3][1]), ("bad", "ME-L")]
    text = "".join(f">{name} of something\n{letters}\n" for name, letters in proteins)
    (folder / "h.faa").write_text(text)
    (folder / "i.faa.gz").write_bytes(gzip.compress(text.encode() * 2, mtime=0))
    table = {"id": ["t1", "t2"], "sequence": [draw("ACGT", 400), proteins[5][1]]}
    pq.write_table(pa.table(table), folder / "j.parquet")
    return folder


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_inputs(tmp_path_factory.mktemp("restart") / "inputs")


def run(inputs: Path, output: Path, **options: object) -> Report:
    values = SMALL | options
    return prepare([inputs], output, tokenizer=CharacterTokenizer(), **values)  # type: ignore[arg-type]


def hashes(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def whole(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The files of an uninterrupted preparation that drops duplicates."""
    output = tmp_path_factory.mktemp("restart-whole") / "out"
    report = run(inputs, output, drop_duplicates=True)
    assert report.info.bad_records > 2
    assert sum(counts.duplicates for counts in report.info.molecules.values()) > 100
    return hashes(output)


def test_killed_at_every_kind_of_moment_it_ends_in_the_same_bytes(
    inputs: Path, whole: dict[str, str], tmp_path: Path
) -> None:
    output = tmp_path / "out"
    killed = 0
    # Every run gets past the moment at which the one before it was killed.
    for moment in (1, 2, 4, 9, 14, 25, 33, 47):
        command = [sys.executable, "-c", SCRIPT, str(inputs), str(output), str(moment)]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode == 0:
            break
        assert result.returncode == -signal.SIGKILL, result.stderr
        assert not (output / CORPUS_FILE).exists()
        killed += 1
    assert killed >= 5
    report = run(inputs, output, drop_duplicates=True)
    assert report.kept > 0
    assert hashes(output) == whole


@pytest.mark.parametrize("seconds", [0.0, 0.15])
def test_a_killed_pool_ends_and_the_work_goes_on_with_other_workers(
    inputs: Path, whole: dict[str, str], tmp_path: Path, seconds: float
) -> None:
    output = tmp_path / "out"
    path = tmp_path / "pool.py"
    path.write_text(
        "import sys\nfrom pathlib import Path\n"
        "from biote.corpora.prepare import prepare\n"
        "from biote.tokenization import CharacterTokenizer\n"
        "if __name__ == '__main__':\n"
        "    prepare([Path(sys.argv[1])], Path(sys.argv[2]), tokenizer=CharacterTokenizer(),\n"
        "            shard_bytes=2_000, block_bytes=3_000, drop_duplicates=True, workers=2)\n"
    )
    process = subprocess.Popen([sys.executable, str(path), str(inputs), str(output)])
    deadline = time.monotonic() + 60
    while process.poll() is None and not list(output.glob("progress/0*-*.json")):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    time.sleep(seconds)
    workers = children(process.pid)
    process.kill()
    process.wait()
    assert workers
    while any(is_running(worker) for worker in workers):
        assert time.monotonic() < deadline, "workers outlive the process that started them"
        time.sleep(0.02)
    report = run(inputs, output, drop_duplicates=True, workers=1)
    assert report.kept > 0
    assert hashes(output) == whole


def test_an_interrupted_pool_says_one_line_and_leaves_no_process(
    inputs: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    command = [sys.executable, "-m", "biote.cli", "prepare", str(inputs), "--output", str(output)]
    process = subprocess.Popen(
        [*command, "--workers", "2", "--drop-duplicates"],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while process.poll() is None and len(list(output.glob("progress/0*-*.json"))) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    os.killpg(process.pid, signal.SIGINT)
    _, error = process.communicate(timeout=60)
    if process.returncode == 0:
        pytest.skip("it was done before it could be interrupted")
    assert (process.returncode, error) == (130, "biote: interrupted\n")
    assert not children(process.pid)
    prepare([inputs], output, tokenizer=CharacterTokenizer(), drop_duplicates=True)
    other = tmp_path / "other"
    prepare([inputs], other, tokenizer=CharacterTokenizer(), drop_duplicates=True)
    assert hashes(output) == hashes(other)


def children(parent: int) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it ended meanwhile
        if int(fields[1]) == parent:
            found.append(int(entry.parent.name))
    return found


def is_running(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def test_only_unfinished_files_are_done_again(inputs: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    stop_after(run, 5, inputs, output)
    kept = {path: path.stat().st_mtime_ns for path in output.glob("shards/*.arrow")}
    assert kept
    report = run(inputs, output)
    assert report.kept == 5
    assert report.done > 5
    for path, modified in kept.items():
        assert path.stat().st_mtime_ns == modified, path


def stop_after(
    function: Callable[..., Report], parts: int, inputs: Path, output: Path, **options: object
) -> None:
    """Run a preparation that ends, as by Ctrl-C, when so many parts are done."""
    done = 0

    def stop(*_: object) -> None:
        nonlocal done
        done = len(list(output.glob("progress/0*-*.json")))
        if done >= parts:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        function(inputs, output, progress=stop, **options)
    assert done == parts


def test_a_source_that_changed_is_done_again_and_the_others_are_kept(tmp_path: Path) -> None:
    inputs = write_inputs(tmp_path / "inputs")
    output = tmp_path / "out"
    stop_after(run, 4, inputs, output)
    changed = inputs / "g2.gb.gz"
    changed.write_bytes(gzip.compress(genbank("NEW", "ACGT" * 300).encode(), mtime=0))
    report = run(inputs, output)
    assert report.kept == 3
    run(inputs, tmp_path / "other")
    assert hashes(output) == hashes(tmp_path / "other")


def test_a_shard_that_was_lost_is_made_again(inputs: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    stop_after(run, 4, inputs, output)
    next(output.glob("shards/00002-*.arrow")).unlink()
    assert run(inputs, output).kept == 3
    run(inputs, tmp_path / "other")
    assert hashes(output) == hashes(tmp_path / "other")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"validation_fraction": 0.2}, "validation fraction 0.005, not 0.2"),
        ({"drop_duplicates": True}, "drop duplicates False, not True"),
    ],
)
def test_other_settings_do_not_go_on_with_an_unfinished_preparation(
    inputs: Path, tmp_path: Path, options: dict[str, object], message: str
) -> None:
    output = tmp_path / "out"
    stop_after(run, 3, inputs, output)
    with pytest.raises(DataError, match=f"unfinished preparation with {message}.*--overwrite"):
        run(inputs, output, **options)
    assert run(inputs, output, **options, overwrite=True).kept == 0
    run(inputs, tmp_path / "other", **options)
    assert hashes(output) == hashes(tmp_path / "other")


def test_two_preparations_cannot_write_the_same_folder(inputs: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    refused: list[object] = []

    def second(*_: object) -> None:
        if not refused:
            with pytest.raises(DataError, match="another process prepares it now") as error:
                run(inputs, output)
            refused.append(error)

    run(inputs, output, progress=second)
    assert refused


@pytest.mark.parametrize("megabytes", [0, 1])
def test_a_disk_that_is_full_is_one_line_and_can_be_mended(tmp_path: Path, megabytes: int) -> None:
    """On a real file system of too small a size, in a name space of its own."""
    inputs = write_inputs(tmp_path / "inputs", files=6, bases=60_000)
    mount = tmp_path / "small"
    mount.mkdir()
    size = "64k" if not megabytes else f"{megabytes}m"
    biote = f"{sys.executable} -m biote.cli prepare {inputs} --output {mount}/out"
    script = (
        f"mount -t tmpfs -o size={size} none {mount} || exit 77; "
        f"{biote}; echo exit $?; find {mount} -name '*.partial' -o -name corpus.json; "
        f"mount -o remount,size=64m {mount} && {biote} >&2; echo exit $?; "
        f"cat {mount}/out/shards/* | sha256sum"
    )
    result = subprocess.run(
        ["unshare", "-Urm", "sh", "-c", script], capture_output=True, text=True, check=False
    )
    if "exit" not in result.stdout:
        pytest.skip(f"no mount in a name space here: {result.stderr.strip()}")
    lines = result.stdout.splitlines()
    assert lines[0] == "exit 2", result
    errors = [line for line in result.stderr.splitlines() if line.startswith("biote: error:")]
    assert len(errors) == 1
    assert "No space left on device" in errors[0]
    assert "Traceback" not in result.stderr
    assert lines[1] == "exit 0", result.stderr
    prepare([inputs], tmp_path / "other", tokenizer=CharacterTokenizer())
    joined = b"".join(path.read_bytes() for path in sorted((tmp_path / "other/shards").iterdir()))
    assert lines[2].split()[0] == hashlib.sha256(joined).hexdigest()


def test_a_folder_that_cannot_be_written_is_one_line(inputs: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"Not a directory|File exists"):
        run(inputs, tmp_path / "file" / "out")


def test_a_finished_corpus_is_left_as_it_is(inputs: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    run(inputs, output)
    before = {path: path.stat().st_mtime_ns for path in output.rglob("*") if path.is_file()}
    report = run(inputs, output)
    assert (report.kept, report.done) == (0, 0)
    assert report.ledger.reasons
    assert before == {p: p.stat().st_mtime_ns for p in output.rglob("*") if p.is_file()}


def test_a_worker_of_another_version_is_refused(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("biote.corpora.parts.__version__", "0.0.0")
    with pytest.raises(Exception, match=r"a worker runs biote 0\.0\.0"):
        run(inputs, tmp_path / "out")
    assert os.listdir(tmp_path / "out/shards") == []
