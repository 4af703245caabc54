"""A corpus against its own description: every file, every count, every window."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from biote.corpora.execution import open_executor, run_all
from biote.corpora.ledger import read_ledger
from biote.corpora.manifest import (
    CORPUS_FILE,
    LEDGER_FILE,
    CorpusInfo,
    MoleculeCounts,
    checksum,
    load_info,
)
from biote.corpora.shards import Corpus
from biote.corpora.verify_shard import (
    Edge,
    ShardFindings,
    ShardTask,
    check_file,
    check_shard,
)
from biote.corpora.verify_windows import check_windows
from biote.corpora.writer import SHARD_FOLDER
from biote.errors import ConfigError, DataError
from biote.molecules import MOLECULES, Molecule
from biote.tokenization import load_tokenizer
from biote.tokenization.base import TOKENIZER_FILE

_COUNTED = ("records", "units", "residues", "tokens", "validation_units", "validation_tokens")


@dataclass(frozen=True)
class Fault:
    """Something that is not as it should be."""

    where: str
    """File."""
    what: str


@dataclass
class Verification:
    """What was checked and what was found."""

    folder: Path
    faults: list[Fault] = field(default_factory=list)
    shards: int = 0
    bytes: int = 0
    """Of the shards."""
    units: int = 0
    sidecars: int = 0
    not_decodable: int = 0
    """Units with unknown tokens, whose sequence their tokens cannot give back."""

    def add(self, where: Path, what: str) -> None:
        """Note a fault.

        Args:
            where: File.
            what: What is wrong with it.
        """
        self.faults.append(Fault(str(where), what))


def verify(
    folder: Path,
    *,
    deep: bool = False,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Verification:
    """Check a corpus and collect all its faults.

    Args:
        folder: Corpus folder.
        deep: Whether every unit is decoded and its digest worked out anew.
        workers: Processes that check shards.
        progress: Told the bytes of the shards that are checked, and of all.

    Raises:
        DataError: If the folder is no corpus.
        ConfigError: If the number of workers is below 1.
    """
    if workers < 1:
        raise ConfigError(f"{workers} workers", where="workers", mend="give at least 1")
    result = Verification(folder)
    if not (folder / CORPUS_FILE).is_file():
        load_info(folder)  # says so
    try:
        info = load_info(folder)
    except DataError as error:
        result.add(folder / CORPUS_FILE, error.what)
        return result
    whole = _check_files(folder, info, result)
    if whole:
        _check_shards(folder, info, result, deep=deep, workers=workers, progress=progress)
    if not result.faults:
        corpus = Corpus(folder)
        for path, fault in check_windows(corpus):
            result.sidecars += 1
            if fault is not None:
                result.add(path, fault)
    return result


def _check_files(folder: Path, info: CorpusInfo, result: Verification) -> bool:
    """Check all but shards and windows; whether the tokenizer is whole."""
    path = folder / CORPUS_FILE
    written = path.read_bytes()
    content = json.loads(written)
    if content.get("checksum") != checksum(content) or _as_written(content) != written:
        result.add(path, "changed after it was written: its checksum does not fit")
    if not isinstance(files := content.get("files"), dict):
        files = {}
    for name in sorted({LEDGER_FILE, TOKENIZER_FILE, *files}):
        fault = check_file(folder / name, sha256=str(files.get(name)))
        if fault is not None:
            result.add(folder / name, fault)
    faulty = {fault.where for fault in result.faults}
    ledger = folder / LEDGER_FILE
    if str(ledger) not in faulty:
        lines = sum(1 for _ in read_ledger(ledger))
        if lines != info.bad_records:
            result.add(ledger, f"{lines:,} lines, corpus.json says {info.bad_records:,}")
    if any(str(folder / name) in faulty for name in {TOKENIZER_FILE, *files} - {LEDGER_FILE}):
        return False
    if load_tokenizer(folder).fingerprint != info.tokenizer_fingerprint:
        result.add(folder / TOKENIZER_FILE, "not the tokenizer that made the shards")
        return False
    return True


def _as_written(content: dict[str, Any]) -> bytes:
    return f"{json.dumps(content, indent=2)}\n".encode()


def _check_shards(
    folder: Path,
    info: CorpusInfo,
    result: Verification,
    *,
    deep: bool,
    workers: int,
    progress: Callable[[int, int], None] | None,
) -> None:
    total = sum(shard.bytes for shard in info.shards)
    findings: dict[str, ShardFindings] = {}

    def done(task: ShardTask, found: ShardFindings) -> None:
        findings[task.info.file] = found
        result.bytes += task.info.bytes
        if progress is not None:
            progress(result.bytes, total)

    tasks = (
        ShardTask(
            folder=folder,
            info=shard,
            tokenizer_fingerprint=info.tokenizer_fingerprint,
            token_dtype=info.token_dtype,
            rule=info.validation,
            deep=deep,
        )
        for shard in info.shards
    )
    with open_executor(workers, None) as (executor, limit):
        run_all(check_shard, tasks, executor=executor, limit=limit, done=done)
    totals: dict[Molecule, Counter[str]] = {}
    last: Edge | None = None
    for shard in info.shards:
        found = findings[shard.file]
        for what in found.faults:
            result.add(folder / shard.file, what)
        for molecule, tally in found.counts.items():
            totals.setdefault(molecule, Counter()).update(tally)
        if found.edges is not None:
            if last is not None and not _follows(last, found.edges[0]):
                result.add(folder / shard.file, "does not go on where the shard before ends")
            last = found.edges[1]
        else:
            last = None
        result.shards += 1
        result.units += shard.rows
        result.not_decodable += found.not_decodable
    described = {folder / shard.file for shard in info.shards}
    for path in sorted((folder / SHARD_FOLDER).glob("*")):
        if path not in described:
            result.add(path, "no shard of this corpus: corpus.json does not name it")
    if last is not None and not last.ends_record:
        result.add(folder / info.shards[-1].file, f"record {last.record} has no end")
    if not result.faults:  # else the counts differ because of them
        for what in _count_faults(info, totals):
            result.add(folder / CORPUS_FILE, what)


def _follows(last: Edge, first: Edge) -> bool:
    if last.ends_record:
        return first.start == 0
    return (first.record, first.molecule, first.start) == (last.record, last.molecule, last.stop)


def _count_faults(info: CorpusInfo, totals: dict[Molecule, Counter[str]]) -> Iterator[str]:
    for molecule in MOLECULES:
        described = info.molecules.get(molecule, MoleculeCounts())
        counted = totals.get(molecule, Counter())
        for name in _COUNTED:
            if counted[name] != getattr(described, name):
                yield (
                    f"{getattr(described, name):,} {name.replace('_', ' ')} of {molecule.value}, "
                    f"the shards hold {counted[name]:,}"
                )
    read = sum(source.records for source in info.sources)
    held = sum(counts.records + counts.duplicates for counts in info.molecules.values())
    if read != held:
        yield f"{read:,} records of its sources, of which {held:,} are held or left out"
