"""GenBank files to one table of genes and their proteins, with a ledger beside it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pyarrow as pa

from biote.corpora.execution import open_executor, run_all
from biote.corpora.genes.counts import PairCounts
from biote.corpora.genes.pairs import Pair, read_pairs
from biote.corpora.genes.table import PAIR_SCHEMA, PairTable, to_batches
from biote.corpora.ledger import join_ledgers, open_ledger
from biote.corpora.provenance import FileDigest, check_unchanged, source_identity
from biote.corpora.records import BadRecord
from biote.corpora.sources import Source, SourceFormat, find_sources
from biote.corpora.workspace import workspace
from biote.errors import ConfigError, DataError
from biote.version import __version__

VERSION_KEY: Final = "biote_version"
SOURCES_KEY: Final = "biote_sources"
"""Metadata of the table: JSON, a list of the source files with their size and SHA-256."""

LEDGER_SUFFIX: Final = ".ledger.jsonl"
_COMMAND: Final = "pairs"

Progress = Callable[[int, int], None]
"""Called with the bytes of input read so far and the bytes there are."""


@dataclass(frozen=True, kw_only=True)
class PairReport:
    """What was written."""

    output: Path
    ledger: Path
    files: int
    counts: PairCounts


@dataclass(frozen=True)
class _Task:
    """One source file and where its part of the table goes."""

    source: Source
    source_identity: str
    """Of the source when it was listed; see `biote.corpora.provenance`."""
    table: Path
    ledger: Path


@dataclass(frozen=True)
class _Result:
    """What was made of one source file."""

    counts: PairCounts
    bytes: int
    sha256: str


def write_pairs(
    sources: Sequence[Path],
    output: Path,
    *,
    workers: int = 1,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> PairReport:
    """Write the genes and proteins of annotated GenBank files as a Parquet table.

    The table has the columns of `PAIR_SCHEMA` and names the version of biote and every source
    with its SHA-256 in its metadata. It is the same, byte for byte, for any number of workers.
    The ledger, ``<output>.ledger.jsonl``, lists what gave no pair. Table and ledger are of one
    run: an old table is gone before its ledger is replaced, and the new one comes last.

    Args:
        sources: Files, and folders to search to any depth for GenBank files.
        output: Parquet file to write. Parts of it are gathered in a hidden folder beside it.
        workers: Processes, one file each.
        overwrite: Whether a file that is there is replaced.
        progress: Told how far the reading is, file by file.

    Raises:
        DataError: If a source is not there, is no GenBank file or changes while it is read, the
            output is there already or cannot be written, or no file gives a pair.
        ConfigError: If the number of workers is below 1.
    """
    if workers < 1:
        raise ConfigError(f"{workers} workers", where="workers", mend="give at least 1")
    found = _find(sources)
    ledger = output.with_name(output.name + LEDGER_SUFFIX)
    _check_output(output, ledger, overwrite=overwrite)
    counts = PairCounts()
    try:
        with workspace(output, command=_COMMAND) as folder:
            _check_output(output, ledger, overwrite=overwrite)
            tasks = [
                _Task(
                    source,
                    source_identity(source),
                    folder / f"{at}.arrow",
                    folder / f"{at}.jsonl",
                )
                for at, source in enumerate(found)
            ]
            results = _run(tasks, workers, progress)
            for task in tasks:
                counts.add(results[task].counts)
            new_table, new_ledger = folder / "table", folder / "ledger"
            join_ledgers((task.ledger for task in tasks), new_ledger)
            if counts.pairs:
                _join(tasks, results, new_table)
                _sync(new_table)
                output.unlink(missing_ok=True)
                new_ledger.replace(ledger)
                new_table.replace(output)
                _sync(output.parent)
            elif output.exists():
                raise _nothing_found(
                    counts,
                    len(tasks),
                    where=output,
                    mend="the table that is there is kept; name another output for a ledger",
                )
            else:
                new_ledger.replace(ledger)
                raise _nothing_found(
                    counts,
                    len(tasks),
                    where=ledger,
                    mend="the ledger lists every coding feature with its fault",
                )
    except OSError as error:
        raise DataError(
            error.strerror or str(error),
            where=str(error.filename or output),
            mend="free the way and run again",
        ) from error
    return PairReport(output=output, ledger=ledger, files=len(found), counts=counts)


def _check_output(output: Path, ledger: Path, *, overwrite: bool) -> None:
    for path in (output, ledger):
        if path.is_dir():
            raise DataError(
                "is a folder", where=str(path), mend="name a file, such as pairs.parquet"
            )
    if output.exists() and not overwrite:
        raise DataError("is there already", where=str(output), mend="name another or --overwrite")


def _sync(path: Path) -> None:
    """Have the content of a file, or the names in a folder, on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _find(sources: Sequence[Path]) -> list[Source]:
    """The GenBank files; files of other formats are passed over in folders only."""
    found = find_sources(sources)
    named = {path.resolve() for path in sources if not path.is_dir()}
    other = [source for source in found if source.format is not SourceFormat.GENBANK]
    for source in other:
        if source.path.resolve() in named:
            raise DataError(
                "not a GenBank file, has no annotation",
                where=str(source.path),
                mend="give .gb .gbk .gbff .seq or .genbank files, also with .gz",
            )
    if len(other) == len(found):
        raise DataError(
            "no GenBank file",
            where=", ".join(str(path) for path in sources),
            mend="give .gb .gbk .gbff .seq or .genbank files, also with .gz",
        )
    return [source for source in found if source.format is SourceFormat.GENBANK]


def _run(tasks: Sequence[_Task], workers: int, progress: Progress | None) -> dict[_Task, _Result]:
    total = sum(task.source.bytes for task in tasks)
    results: dict[_Task, _Result] = {}

    def done(task: _Task, result: _Result) -> None:
        results[task] = result
        if progress is not None:
            progress(sum(task.source.bytes for task in results), total)

    with open_executor(workers, None) as (executor, limit):
        run_all(_read_source, tasks, executor=executor, limit=limit, done=done)
    return results


def _read_source(task: _Task) -> _Result:
    """Write the pairs and the ledger of one source file."""
    counts = PairCounts()
    path = task.source.path
    digest = FileDigest(path)
    with (
        open_ledger(task.ledger) as note,
        task.table.open("wb") as stream,
        pa.ipc.new_stream(stream, PAIR_SCHEMA) as table,
    ):

        def only_pairs() -> Iterator[Pair]:
            for found in read_pairs(path, counts, scratch=task.table.parent, on_block=digest):
                if isinstance(found, Pair):
                    yield found
                else:
                    note(found)

        for batch in to_batches(only_pairs()):
            table.write_batch(batch)
    sha256 = digest.finish()
    check_unchanged(task.source, task.source_identity)
    return _Result(counts, digest.bytes, sha256)


def _join(tasks: Sequence[_Task], results: dict[_Task, _Result], path: Path) -> None:
    """Write the parts of the table as one."""
    listed = [
        {
            "file": str(task.source.path),
            "bytes": results[task].bytes,
            "sha256": results[task].sha256,
        }
        for task in tasks
    ]
    metadata = {VERSION_KEY: __version__, SOURCES_KEY: json.dumps(listed)}
    with PairTable(path, metadata) as table:
        for task in tasks:
            with pa.OSFile(str(task.table)) as stream, pa.ipc.open_stream(stream) as batches:
                for batch in batches:
                    table.add(batch)
            task.table.unlink()


def _nothing_found(counts: PairCounts, files: int, *, where: Path, mend: str) -> DataError:
    tally = counts.skipped if counts.skipped.total else counts.bad_records
    reasons = ", ".join(f"{reason} ({n})" for reason, n in tally.numbers.most_common(3))
    first: BadRecord | None = next(iter(tally.first.values()), None)
    return DataError(
        f"no gene with its protein in {files} file{'s' if files > 1 else ''}, "
        f"{counts.coding_features} coding features"
        + (f": {reasons}" if reasons else "")
        + (f", the first {first.source}:{first.line} {first.record}".rstrip() if first else ""),
        where=str(where),
        mend=mend,
    )
