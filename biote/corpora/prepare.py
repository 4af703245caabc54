"""Source files to a corpus folder.

``corpus.json`` comes last, after all shards and the validation split; without it a folder is no
corpus.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from biote.atomic import PARTIAL_SUFFIX, atomic_path
from biote.corpora.manifest import CORPUS_FILE, LEDGER_FILE, CorpusInfo, MoleculeCounts
from biote.corpora.records import BadRecord
from biote.corpora.shards import ShardColumns
from biote.corpora.sources import find_sources
from biote.corpora.tasks import (
    EXAMPLES_PER_REASON,
    LEDGER_FOLDER,
    Progress,
    SourceResult,
    SourceTask,
    ledger_part,
    run_tasks,
)
from biote.corpora.validation import hold_out
from biote.corpora.windows import WINDOW_FOLDER
from biote.corpora.writer import SHARD_BYTES, SHARD_FOLDER
from biote.errors import ConfigError, DataError
from biote.molecules import MOLECULES, Molecule
from biote.splits import validation_threshold
from biote.tokenization import Tokenizer, is_tokenizer_folder
from biote.version import __version__


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a preparation did."""

    output: Path
    info: CorpusInfo
    ledger: Path
    reasons: Counter[str]
    """Number of bad records by reason."""
    examples: tuple[BadRecord, ...]
    """The first few bad records of every reason."""


def prepare(
    sources: Sequence[Path],
    output: Path,
    *,
    tokenizer: Tokenizer,
    validation_fraction: float = 0.005,
    fasta_molecule: Molecule | None = None,
    workers: int = 1,
    overwrite: bool = False,
    shard_bytes: int = SHARD_BYTES,
    progress: Progress | None = None,
) -> Report:
    """Make a corpus of sequence files.

    The result is the same, byte for byte, for any number of workers.

    Args:
        sources: Files, and folders to search to any depth.
        output: Corpus folder to make.
        tokenizer: Tokenizer, saved in the corpus folder with the shards.
        validation_fraction: Share of distinct sequences to hold out.
        fasta_molecule: Molecule type of FASTA and Parquet records; by default decided for
            every file from its letters.
        workers: Processes that read and tokenise.
        overwrite: Whether a corpus that is in the folder is replaced.
        shard_bytes: Size at which a shard is closed.
        progress: Told how far the reading is.

    Raises:
        DataError: If a source is not there or of no known format, the folder holds a corpus
            already or cannot be written, or no source holds a usable record.
        ConfigError: If the number of workers is below 1.
    """
    if workers < 1:
        raise ConfigError(f"{workers} workers", where="workers", mend="give at least 1")
    validation_threshold(validation_fraction)
    found = find_sources(sources)
    if (output / CORPUS_FILE).exists() and not overwrite:
        raise DataError(
            "holds a corpus already", where=str(output), mend="name another output or --overwrite"
        )
    if is_tokenizer_folder(output) and not (output / SHARD_FOLDER).is_dir():
        raise DataError(
            "holds a tokenizer or an encoder, which a corpus would overwrite",
            where=str(output),
            mend="name another output",
        )
    try:
        _clear(output)
        tokenizer.save(output)
        tasks = [
            SourceTask(
                source=source,
                index=index,
                output=output,
                tokenizer_fingerprint=tokenizer.fingerprint,
                molecule=fasta_molecule,
                shard_bytes=shard_bytes,
            )
            for index, source in enumerate(found)
        ]
        results = run_tasks(tasks, workers, progress)
        return _finish(output, tokenizer, results, validation_fraction)
    except OSError as error:
        raise DataError(
            error.strerror or str(error),
            where=str(error.filename or output),
            mend="free the way and prepare again",
        ) from error


def _finish(
    output: Path, tokenizer: Tokenizer, results: Sequence[SourceResult], fraction: float
) -> Report:
    """Join the ledger, decide the validation split, and write ``corpus.json``."""
    shards = tuple(shard for result in results for shard in result.shards)
    reasons = sum((result.reasons for result in results), Counter[str]())
    examples: list[BadRecord] = []
    for reason in reasons:
        rows = [bad for result in results for bad in result.examples if bad.reason == reason]
        examples += rows[:EXAMPLES_PER_REASON]
    ledger = output / LEDGER_FILE
    _join_ledger(output, len(results))
    if not shards:
        most = ", ".join(f"{reason} ({n})" for reason, n in reasons.most_common(3))
        raise DataError(
            f"no usable record in {len(results)} file{'s' if len(results) > 1 else ''}: {most}",
            where=str(ledger),
            mend="the ledger lists every record with its fault",
        )
    dtype = np.dtype(tokenizer.dtype)
    held_out = hold_out(
        lambda: (ShardColumns(output / shard.file, shard, dtype) for shard in shards), fraction
    )
    totals = {m: Counter[str]() for m in MOLECULES}
    for result in results:
        for molecule, tally in result.counts.items():
            totals[molecule] += tally
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
        sources=tuple(result.info for result in results),
        validation=held_out.rule,
        notes=held_out.notes,
    )
    info.save(output)
    return Report(
        output=output, info=info, ledger=ledger, reasons=reasons, examples=tuple(examples)
    )


def _join_ledger(output: Path, parts: int) -> None:
    with atomic_path(output / LEDGER_FILE) as partial, partial.open("wb") as ledger:
        for index in range(parts):
            ledger.write(ledger_part(output, index).read_bytes())
    for index in range(parts):
        ledger_part(output, index).unlink()
    (output / LEDGER_FOLDER).rmdir()


def _clear(output: Path) -> None:
    """Remove a corpus, or what an interrupted preparation left; nothing else in the folder."""
    # First, so that what is left after an interruption is no corpus.
    (output / CORPUS_FILE).unlink(missing_ok=True)
    written = (
        CORPUS_FILE,
        LEDGER_FILE,
        f"{SHARD_FOLDER}/[0-9]*-[0-9]*.arrow",
        f"{WINDOW_FOLDER}/[0-9]*-*-*.u64",
        f"{LEDGER_FOLDER}/[0-9]*.jsonl",
    )
    for pattern in written:
        for path in [*output.glob(pattern), *output.glob(f"{pattern}.*{PARTIAL_SUFFIX}")]:
            path.unlink()
    # It marks the folder as that of a corpus from here on, see `prepare`.
    (output / SHARD_FOLDER).mkdir(parents=True, exist_ok=True)
