"""The work on one source file, and many of them in this process or a pool.

A task is a pure function of its source file and tokenizer: it writes shards and a part of the
ledger, with the same bytes in any process and in any order.
"""

from __future__ import annotations

import functools
import hashlib
import json
import multiprocessing
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import Final

from biote.atomic import atomic_path
from biote.corpora.blocks import OnBytes
from biote.corpora.manifest import ShardInfo, SourceInfo
from biote.corpora.records import BadRecord
from biote.corpora.sources import Source, SourceFormat, guess_molecule, read_source
from biote.corpora.units import make_units
from biote.corpora.writer import ShardWriter
from biote.errors import DataError
from biote.molecules import Molecule
from biote.tokenization import Tokenizer, load_tokenizer

LEDGER_FOLDER: Final = "ledger"  # its parts, one a source, until they are joined
EXAMPLES_PER_REASON: Final = 3

Progress = Callable[[int, int], None]
"""Called with the bytes of input read so far and the bytes there are."""


@dataclass(frozen=True, kw_only=True)
class SourceTask:
    """All that decides what is made of one source file."""

    source: Source
    index: int
    """Place of the source among the sorted inputs."""
    output: Path
    tokenizer_fingerprint: str
    """Of the tokenizer saved in the output folder."""
    molecule: Molecule | None
    shard_bytes: int


@dataclass(frozen=True, kw_only=True)
class SourceResult:
    """What was made of one source file."""

    info: SourceInfo
    shards: tuple[ShardInfo, ...]
    counts: dict[Molecule, Counter[str]]
    reasons: Counter[str]
    examples: tuple[BadRecord, ...]
    """The first few of every reason."""


def prepare_source(task: SourceTask, on_bytes: OnBytes | None = None) -> SourceResult:
    """Make the shards and the ledger part of one source file.

    Args:
        task: All that decides the result.
        on_bytes: Told how many bytes of the file were read.
    """
    source = task.source
    tokenizer = _tokenizer(task.output, task.tokenizer_fingerprint)
    guessed = task.molecule is None and source.format is not SourceFormat.GENBANK
    molecule = guess_molecule(source) if guessed else task.molecule
    writer = ShardWriter(
        task.output, task.index, dtype=tokenizer.dtype, shard_bytes=task.shard_bytes
    )
    counts: dict[Molecule, Counter[str]] = {}
    reasons: Counter[str] = Counter()
    examples: list[BadRecord] = []
    with (
        atomic_path(ledger_part(task.output, task.index)) as partial,
        partial.open("w", encoding="utf-8") as ledger,
    ):

        def note(bad: BadRecord) -> None:
            reasons[bad.reason] += 1
            if reasons[bad.reason] <= EXAMPLES_PER_REASON:
                examples.append(bad)
            ledger.write(json.dumps(asdict(bad), ensure_ascii=False) + "\n")

        for record in read_source(source, molecule, on_bytes=on_bytes):
            units = record if isinstance(record, BadRecord) else make_units(record, tokenizer)
            if isinstance(units, BadRecord):
                note(units)
                continue
            tally = counts.setdefault(units[0].molecule, Counter())
            tally["records"] += 1
            for unit in units:
                writer.add(unit)
                tally["units"] += 1
                tally["residues"] += unit.residues
                tally["tokens"] += len(unit.tokens)
        if not counts and not reasons:
            note(BadRecord(str(source.path), 1, "", "no record in the file"))
    with source.path.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    shown = None if source.format is SourceFormat.GENBANK or molecule is None else molecule.value
    return SourceResult(
        info=SourceInfo(
            file=str(source.path),
            format=source.format.value,
            bytes=source.bytes,
            sha256=sha256,
            molecule=shown,
            molecule_guessed=guessed,
            records=sum(tally["records"] for tally in counts.values()),
            bad_records=reasons.total(),
        ),
        shards=writer.close(),
        counts=counts,
        reasons=reasons,
        examples=tuple(examples),
    )


def run_tasks(
    tasks: Sequence[SourceTask], workers: int, progress: Progress | None
) -> list[SourceResult]:
    """Do all tasks, in this process or in a pool.

    Args:
        tasks: Tasks of one output folder, which holds the tokenizer already.
        workers: Number of processes.
        progress: Told how far the reading is.

    Returns:
        Results in the order of the tasks.

    Raises:
        DataError: If a process of the pool was killed.
    """
    total = sum(task.source.bytes for task in tasks)
    if workers == 1:
        read = 0

        def count(n: int) -> None:
            nonlocal read
            read += n
            if progress is not None:
                progress(read, total)

        return [prepare_source(task, count) for task in tasks]
    # Spawned, because Arrow and SentencePiece hold threads that do not survive a fork.
    context = multiprocessing.get_context("spawn")
    counter = context.Value("q", 0)
    pool = ProcessPoolExecutor(workers, context, _share_counter, (counter,))
    try:
        futures = [pool.submit(_pooled, task) for task in tasks]
        pending = set(futures)
        while pending:
            done, pending = wait(pending, timeout=0.2, return_when=FIRST_COMPLETED)
            for future in done:
                future.result()  # raises what stopped it, before the other files are read
            if progress is not None:
                progress(counter.value, total)
        return [future.result() for future in futures]
    except BrokenProcessPool as error:
        raise DataError(
            "a worker process was killed, most often because memory ran out",
            mend="give fewer --workers",
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


_bytes_read: Synchronized[int] | None = None  # of all workers of a pool; set in each as it starts


def _share_counter(counter: Synchronized[int]) -> None:
    global _bytes_read
    _bytes_read = counter


def _pooled(task: SourceTask) -> SourceResult:
    counter = _bytes_read
    assert counter is not None, "set when the worker started"

    def count(n: int) -> None:
        with counter.get_lock():
            counter.value += n

    return prepare_source(task, count)


@functools.lru_cache(maxsize=1)
def _tokenizer(folder: Path, fingerprint: str) -> Tokenizer:
    """The tokenizer of a corpus folder, loaded once a process."""
    tokenizer = load_tokenizer(folder)
    assert tokenizer.fingerprint == fingerprint, "saved before the first task"
    return tokenizer


def ledger_part(output: Path, index: int) -> Path:
    """Path of the ledger of one source, until the parts are joined.

    Args:
        output: Corpus folder.
        index: Place of the source among the sorted inputs.
    """
    return output / LEDGER_FOLDER / f"{index:05d}.jsonl"
