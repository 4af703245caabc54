"""Source files to a corpus folder.

The work is done in parts (`biote.corpora.parts`), each of which is done once: an interrupted
preparation goes on with the parts that are left, and the corpus is the same, byte for byte, as that
of an uninterrupted one. ``corpus.json`` comes last; without it a folder is no corpus.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from biote.corpora.duplicates import without_duplicates
from biote.corpora.fasta import BLOCK_BYTES
from biote.corpora.folder import clear, locked, remove_leftovers, remove_partials
from biote.corpora.ledger import LedgerSummary, join_ledgers, read_ledger, summarise
from biote.corpora.manifest import (
    CORPUS_FILE,
    LEDGER_FILE,
    CorpusInfo,
    MoleculeCounts,
    SourceInfo,
    load_info,
)
from biote.corpora.plan import Plan, Preparation, Progress, SourceParts
from biote.corpora.shards import ShardColumns
from biote.corpora.sources import Source, SourceFormat, find_sources
from biote.corpora.validation import hold_out
from biote.corpora.writer import SHARD_BYTES
from biote.errors import ConfigError, DataError
from biote.molecules import MOLECULES, Molecule
from biote.splits import validation_threshold
from biote.tokenization import Tokenizer
from biote.version import __version__


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a preparation did."""

    output: Path
    info: CorpusInfo
    ledger: LedgerSummary
    kept: int
    """Parts that an earlier, interrupted preparation had done."""
    done: int
    """Parts that were done now; 0 of both if the corpus was there already."""


def prepare(
    sources: Sequence[Path],
    output: Path,
    *,
    tokenizer: Tokenizer,
    validation_fraction: float = 0.005,
    fasta_molecule: Molecule | None = None,
    drop_duplicates: bool = False,
    workers: int = 1,
    scheduler: str | None = None,
    overwrite: bool = False,
    shard_bytes: int = SHARD_BYTES,
    block_bytes: int = BLOCK_BYTES,
    progress: Progress | None = None,
) -> Report:
    """Make a corpus of sequence files, or go on with one that was interrupted.

    The result is the same, byte for byte, for any number of workers and interruptions. A corpus
    of the same sources and settings that is there already is left as it is.

    Args:
        sources: Files, and folders to search to any depth.
        output: Corpus folder to make.
        tokenizer: Tokenizer, saved in the corpus folder with the shards.
        validation_fraction: Share of distinct sequences to hold out.
        fasta_molecule: Molecule type of FASTA and Parquet records; by default decided for
            every file from its letters.
        drop_duplicates: Whether a record is left out that has the same sequence as an earlier
            one of its molecule type.
        workers: Processes that read and tokenise.
        scheduler: Address of a Dask scheduler whose workers read and tokenise instead; they
            see the same files by the same paths.
        overwrite: Whether another corpus that is in the folder is replaced.
        shard_bytes: Size at which a shard is closed.
        block_bytes: Text of a large FASTA file that is worked on as one part.
        progress: Told how far the work is.

    Raises:
        DataError: If a source is not there or of no known format, the folder holds another corpus
            already or cannot be written, or no source holds a usable record.
        ConfigError: If the number of workers is below 1, or the scheduler cannot be reached.
    """
    if workers < 1:
        raise ConfigError(f"{workers} workers", where="workers", mend="give at least 1")
    validation_threshold(validation_fraction)
    # Absolute, because they say where the data came from, and workers may run in other folders.
    found = [
        replace(source, path=Path(os.path.abspath(source.path))) for source in find_sources(sources)
    ]
    plan = Plan(
        output=Path(os.path.abspath(output)),
        sources=tuple(found),
        tokenizer_fingerprint=tokenizer.fingerprint,
        molecule=fasta_molecule,
        validation_fraction=validation_fraction,
        drop_duplicates=drop_duplicates,
        shard_bytes=shard_bytes,
        block_bytes=block_bytes,
    )
    try:
        with locked(plan.output):
            if (there := _corpus_of(plan)) is not None:
                remove_leftovers(plan.output, (shard.file for shard in there.shards))
                return _report(plan, output, there)
            _begin(plan, tokenizer, overwrite=overwrite)
            work = Preparation(plan, progress)
            work.run(workers=workers, scheduler=scheduler)
            info = _finish(plan, work, tokenizer)
            return _report(plan, output, info, work)
    except OSError as error:
        raise DataError(
            error.strerror or str(error),
            where=str(error.filename or output),
            mend="free the way and prepare again: what is done is kept",
        ) from error


def _corpus_of(plan: Plan) -> CorpusInfo | None:
    """The corpus in the folder, if it is the one that the plan would make."""
    path = plan.output / CORPUS_FILE
    if not path.is_file():
        return None
    try:
        info = load_info(plan.output)
    except DataError:
        return None
    written = path.stat().st_mtime_ns
    same = (
        info.settings == plan.settings
        and info.tokenizer_fingerprint == plan.tokenizer_fingerprint
        and info.biote_version == __version__
        and [(s.file, s.bytes) for s in info.sources]
        == [(str(s.path), s.bytes) for s in plan.sources]
        and all(
            _is_unchanged(source, written, stored.sha256)
            for source, stored in zip(plan.sources, info.sources, strict=True)
        )
    )
    return info if same else None


def _is_unchanged(source: Source, written_ns: int, sha256: str) -> bool:
    """Whether a source of a finished corpus holds what it held then.

    A file may be replaced by one that is older; only the time of the change to its name tells, and
    where that is later than the corpus, the content has to.
    """
    status = source.path.stat()
    if max(status.st_mtime_ns, status.st_ctime_ns) < written_ns:
        return True
    with source.path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest() == sha256


def _begin(plan: Plan, tokenizer: Tokenizer, *, overwrite: bool) -> None:
    """Make the folder ready to begin or to go on."""
    if (plan.output / CORPUS_FILE).exists():
        if not overwrite:
            raise DataError(
                "holds a corpus already, of other sources or settings",
                where=str(plan.output),
                mend="name another output or --overwrite",
            )
        clear(plan.output)
    try:
        begun = plan.is_begun()
    except DataError:
        if not overwrite:
            raise
        begun = False
    if begun:
        remove_partials(plan.output)
        return
    clear(plan.output)
    tokenizer.save(plan.output)
    plan.begin()


def _finish(plan: Plan, work: Preparation, tokenizer: Tokenizer) -> CorpusInfo:
    """Join the ledger, drop duplicates, decide the validation split, write ``corpus.json``."""
    output = plan.output
    results = [result for parts in work.sources for result in parts.ordered()]
    join_ledgers(work.ledgers(), output / LEDGER_FILE)
    shards = tuple(shard for result in results for shard in result.shards)
    if not shards:
        reasons = summarise(read_ledger(output / LEDGER_FILE)).reasons
        most = ", ".join(f"{reason} ({n})" for reason, n in reasons.most_common(3))
        n = len(plan.sources)
        raise DataError(
            f"no usable record in {n} file{'s' if n > 1 else ''}: {most}",
            where=str(output / LEDGER_FILE),
            mend="the ledger lists every record with its fault",
        )
    totals = {m: Counter[str]() for m in MOLECULES}
    for result in results:
        for molecule, tally in result.counts.items():
            totals[molecule] += tally
    if plan.drop_duplicates:
        shards, dropped = without_duplicates(output, shards, dtype=tokenizer.dtype)
        for molecule, tally in dropped.items():
            totals[molecule].subtract(tally)
            totals[molecule]["duplicates"] = tally["records"]
    dtype = np.dtype(tokenizer.dtype)
    held_out = hold_out(
        lambda: (ShardColumns(output / shard.file, shard, dtype) for shard in shards),
        plan.validation_fraction,
    )
    info = CorpusInfo(
        biote_version=__version__,
        tokenizer_fingerprint=tokenizer.fingerprint,
        token_dtype=dtype.name,
        molecules={
            molecule: MoleculeCounts(
                **tally,
                validation_units=held_out.units[molecule],
                validation_tokens=held_out.tokens[molecule],
            )
            for molecule, tally in totals.items()
            if tally
        },
        shards=shards,
        sources=tuple(_source_info(parts, plan) for parts in work.sources),
        settings=plan.settings,
        validation=held_out.rule,
        notes=held_out.notes,
    )
    info.save(output)
    remove_leftovers(output, (shard.file for shard in shards))
    return info


def _source_info(parts: SourceParts, plan: Plan) -> SourceInfo:
    source = parts.source
    assert parts.sha256 is not None, "the source was worked through"
    return SourceInfo(
        file=str(source.path),
        format=source.format.value,
        bytes=source.bytes,
        sha256=parts.sha256,
        molecule=parts.molecule and parts.molecule.value,
        molecule_guessed=plan.molecule is None and source.format is not SourceFormat.GENBANK,
        records=sum(result.records for result in parts.results.values()),
        bad_records=sum(result.bad_records for result in parts.results.values()),
    )


def _report(plan: Plan, output: Path, info: CorpusInfo, work: Preparation | None = None) -> Report:
    return Report(
        output=output,
        info=info,
        ledger=summarise(read_ledger(plan.output / LEDGER_FILE)),
        kept=work.kept if work else 0,
        done=work.done if work else 0,
    )
