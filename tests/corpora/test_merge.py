from __future__ import annotations

import hashlib
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import biote.corpora.packing
from biote.corpora.manifest import LEDGER_FILE, load_info
from biote.corpora.merge import merge
from biote.corpora.prepare import prepare
from biote.corpora.shards import Corpus
from biote.corpora.verify import verify
from biote.corpora.windows import shared_validation
from biote.errors import ConfigError, DataError
from biote.molecules import MOLECULES, Molecule
from biote.tokenization import CharacterTokenizer


def build(folder: Path, sequences: dict[str, str], **options: Any) -> Path:
    fasta = folder.with_suffix(".fa")
    fasta.parent.mkdir(parents=True, exist_ok=True)
    fasta.write_text("".join(f">{i}\n{s}\n" for i, s in sequences.items()))
    given: dict[str, Any] = {
        "tokenizer": CharacterTokenizer(),
        "validation_fraction": 0.2,
        "shard_bytes": 600,
    }
    prepare([fasta], folder, **(given | options))
    return folder


def units(folder: Path) -> list[tuple[str, Molecule, str, bool, int, int]]:
    """Everything a reader can see of the units of a corpus."""
    corpus = Corpus(folder)
    found = []
    numbers = np.arange(corpus.n_units)
    for unit, code, ends, digest, length, residues in zip(
        numbers.tolist(),
        corpus.molecule_codes(numbers).tolist(),
        corpus.ends_record(numbers).tolist(),
        corpus.digests(numbers).tolist(),
        corpus.lengths(numbers).tolist(),
        corpus.residues(numbers).tolist(),
        strict=True,
    ):
        molecule = MOLECULES[code]
        letters = corpus.tokenizer.decode(corpus.tokens(unit, 0, length).tolist(), molecule)
        found.append((corpus.record_id(unit), molecule, letters, ends, digest, residues))
    return found


def hashes(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def first(tmp_path: Path) -> Path:
    return build(tmp_path / "a", {f"a{i}": "ACGT"[i % 4] * (i + 1) for i in range(40)} | {"x": ""})


@pytest.fixture
def second(tmp_path: Path) -> Path:
    sequences = {f"b{i}": "MEL" + "KVWX"[i % 4] * i for i in range(30)}
    return build(tmp_path / "b", sequences, validation_fraction=0.4)


def test_units_follow_each_other_in_full_shards(first: Path, second: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    info = merge(
        [second, first], tmp_path / "out", progress=lambda done, total: seen.append((done, total))
    )
    assert info == load_info(tmp_path / "out")
    assert units(tmp_path / "out") == units(second) + units(first)
    assert len(info.shards) == 1
    assert len(load_info(first).shards) > 3
    one, other = load_info(second), load_info(first)
    assert info.sources == one.sources + other.sources
    assert info.settings["merged_from"] == f"{one.fingerprint} {other.fingerprint}"
    ledger = (tmp_path / "out/ledger.jsonl").read_text()
    assert ledger == (first / "ledger.jsonl").read_text()
    assert info.bad_records == len(ledger.splitlines()) == 1
    for molecule, held in ((Molecule.PROTEIN, one), (Molecule.DNA, other)):
        for name in ("records", "units", "residues", "tokens"):
            merged = getattr(info.molecules[molecule], name)
            assert merged == getattr(held.molecules[molecule], name)
    assert not verify(tmp_path / "out", deep=True).faults
    assert seen == sorted(seen)
    assert seen[-1][0] == seen[-1][1] == sum(s.bytes for s in one.shards + other.shards)


def test_what_was_held_out_stays_held_out(first: Path, second: Path, tmp_path: Path) -> None:
    info = merge([first, second], tmp_path / "out")
    corpora = [Corpus(first), Corpus(second)]
    assert info.validation == shared_validation(corpora)
    merged = Corpus(tmp_path / "out")
    digests = merged.digests(np.arange(merged.n_units))
    held_out = set(digests[info.validation.is_validation(digests)].tolist())
    for corpus in corpora:
        own = corpus.digests(np.arange(corpus.n_units))
        assert held_out >= set(own[corpus.info.validation.is_validation(own)].tolist())
    counts = Counter(unit[1] for unit in units(tmp_path / "out") if unit[4] in held_out)
    assert {m: c.validation_units for m, c in info.molecules.items()} == counts


@given(
    lengths=st.lists(st.lists(st.integers(1, 90), min_size=1, max_size=25), min_size=1, max_size=3),
    shard_bytes=st.integers(1, 900),
    pieces=st.integers(1, 5),
)
def test_no_unit_is_lost_and_no_shard_is_too_large(
    tmp_path_factory: pytest.TempPathFactory,
    lengths: list[list[int]],
    shard_bytes: int,
    pieces: int,
) -> None:
    folder = tmp_path_factory.mktemp("merge")
    inputs = [
        build(
            folder / f"c{n}",
            {f"r{n}-{i}": "ACGT"[i % 4] * length for i, length in enumerate(some)},
            shard_bytes=300,
        )
        for n, some in enumerate(lengths)
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(biote.corpora.packing, "_PIECES", pieces)
        info = merge(inputs, folder / "out", shard_bytes=shard_bytes)
    assert units(folder / "out") == [unit for one in inputs for unit in units(one)]
    sizes = [2 * len(letters) + len(name) + 42 for name, _, letters, *_ in units(folder / "out")]
    begin = 0
    for shard in info.shards:
        held = sum(sizes[begin : begin + shard.rows])
        assert held <= shard_bytes or shard.rows == 1
        begin += shard.rows
        if begin < len(sizes):
            assert held + sizes[begin] > shard_bytes  # the next one had no room


def test_duplicates_are_dropped_within_and_between(tmp_path: Path) -> None:
    long = "ACGT" * 260_000
    one = build(tmp_path / "a", {"a": "ACGT", "b": long, "c": "ACGT", "d": "GG"})
    other = build(tmp_path / "b", {"e": "GG", "f": long, "g": long + "A", "h": "ACGTA"})
    kept = merge([one, other], tmp_path / "all")
    info = merge([one, other], tmp_path / "out", drop_duplicates=True)
    names = [name for name, *_ in units(tmp_path / "out")]
    assert list(dict.fromkeys(names)) == ["a", "b", "d", "g", "h"]
    counts, before = info.molecules[Molecule.DNA], kept.molecules[Molecule.DNA]
    assert (counts.records, counts.duplicates, before.records) == (5, 3, 8)
    assert counts.residues == before.residues - len(long) - 6
    assert not verify(tmp_path / "out", deep=True).faults
    again = merge([tmp_path / "out", other], tmp_path / "again", drop_duplicates=True)
    assert again.molecules[Molecule.DNA].duplicates == 7
    assert not verify(tmp_path / "again").faults


def test_one_corpus_is_compacted(first: Path, tmp_path: Path) -> None:
    info = merge([first], tmp_path / "out", shard_bytes=1 << 20)
    assert len(info.shards) == 1
    assert units(tmp_path / "out") == units(first)
    assert info.molecules == load_info(first).molecules
    assert info.validation == load_info(first).validation


def test_notes_say_which_input_they_are_of(tmp_path: Path) -> None:
    one = build(tmp_path / "a", {"p": "MELW"}, validation_fraction=0)
    dna = {f"d{i}": "ACGT"[i % 4] * (i + 1) for i in range(99)}
    other = build(tmp_path / "b", dna, validation_fraction=0.9)
    info = merge([one, other], tmp_path / "out")
    assert info.notes == (
        "a: validation fraction is 0: no unit is held out",
        "protein: no training unit, because what one of the corpora holds out is held out of all",
    )
    assert info.molecules[Molecule.PROTEIN].validation_units == 1


SCRIPT = """
import os, signal, sys
from pathlib import Path
import biote.corpora.merge as module

calls = 0
def kill(*_):
    global calls
    calls += 1
    if calls == int(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)

if sys.argv[1] == "0":  # between corpus.json and the end
    module.remove_leftovers = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
inputs = [Path(name) for name in sys.argv[3:]]
module.merge(inputs, Path(sys.argv[2]), shard_bytes=500, drop_duplicates=True, progress=kill)
"""


@pytest.mark.parametrize("call", [0, 1, 5])
def test_a_killed_merge_is_done_again(first: Path, second: Path, tmp_path: Path, call: int) -> None:
    inputs = [first, second]
    merge(inputs, tmp_path / "whole", shard_bytes=500, drop_duplicates=True)
    output = tmp_path / "out"
    command = [sys.executable, "-c", SCRIPT, str(call), str(output), *map(str, inputs)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert (output / "corpus.json").exists() == (call == 0)
    (output / "shards/00000-00099.arrow.1234.partial").write_text("left by another attempt")
    merge(inputs, output, shard_bytes=500, drop_duplicates=True)
    assert hashes(output) == hashes(tmp_path / "whole")


def test_the_same_merge_is_there_already(first: Path, second: Path, tmp_path: Path) -> None:
    info = merge([first, second], tmp_path / "out")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.arrow")}
    assert merge([first, second], tmp_path / "out") == info
    assert {path: path.stat().st_mtime_ns for path in before} == before
    with pytest.raises(DataError, match=r"holds another corpus already; .*--overwrite"):
        merge([second, first], tmp_path / "out")
    with pytest.raises(DataError, match="holds another corpus already"):
        merge([first, second], tmp_path / "out", shard_bytes=500)
    assert load_info(tmp_path / "out") == info
    merge([second], tmp_path / "out", overwrite=True)
    assert units(tmp_path / "out") == units(second)
    assert not verify(tmp_path / "out").faults


def test_an_unfinished_preparation_is_not_lost(first: Path, tmp_path: Path) -> None:
    plan = tmp_path / "out/progress/plan.json"
    plan.parent.mkdir(parents=True)
    plan.write_text("{}")
    (tmp_path / "out/shards").mkdir()
    with pytest.raises(DataError, match="holds an unfinished preparation"):
        merge([first], tmp_path / "out")
    assert plan.exists()
    merge([first], tmp_path / "out", overwrite=True)
    assert not plan.parent.exists()


def test_inputs_that_cannot_be_merged_are_refused(
    first: Path, second: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    released = build(
        tmp_path / "c", {"c": "ACGT", "d": "AC"}, tokenizer=CharacterTokenizer("released")
    )
    with pytest.raises(DataError, match=r"tokenizers differ: that of .*/a \(.* that of .*/c \("):
        merge([first, released], output)
    with pytest.raises(DataError, match="is an input and the output"):
        merge([first, second], tmp_path / "x" / ".." / "b", overwrite=True)
    copy = Path(shutil.copytree(first, tmp_path / "copy"))
    for twice in (first, copy):
        with pytest.raises(DataError, match=r"the same corpus as .*--drop-duplicates"):
            merge([first, twice], output)
    with pytest.raises(DataError, match=r"no corpus\.json there"):
        merge([first, tmp_path], output)
    with pytest.raises(ConfigError, match="give 1 to"):
        merge([first], output, shard_bytes=0)
    with pytest.raises(ConfigError, match="give 1 to"):
        merge([first], output, shard_bytes=1 << 31)
    assert not output.exists()
    info = merge([first, copy], output, drop_duplicates=True)
    assert units(output) == units(first)
    assert info.molecules[Molecule.DNA].duplicates == 40


@pytest.mark.parametrize("drop_duplicates", [False, True])
def test_a_damaged_input_is_not_passed_on(
    first: Path, tmp_path: Path, drop_duplicates: bool
) -> None:
    path = first / load_info(first).shards[1].file
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"arrow: its SHA-256 is not the one in corpus\.json"):
        merge([first], tmp_path / "out", drop_duplicates=drop_duplicates)
    assert not (tmp_path / "out/corpus.json").exists()


def test_what_cannot_be_written_is_one_line(first: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"file.*merge again"):
        merge([first], tmp_path / "file/out")


def test_a_damaged_ledger_is_not_passed_on(first: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(first, copy)
    with (copy / LEDGER_FILE).open("a") as ledger:
        ledger.write("junk\n")
    with pytest.raises(DataError, match="not a line of a ledger"):
        merge([copy], tmp_path / "out")
    assert not (tmp_path / "out").exists()
