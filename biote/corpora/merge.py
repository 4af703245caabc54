"""Several corpora of one tokenizer into one, or one of many small shards into one of full ones.

The inputs are left as they are. An interrupted merge is done again from the beginning and gives
the same bytes; ``corpus.json`` comes last.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from biote.corpora.duplicates import find_duplicates
from biote.corpora.folder import clear, locked, remove_leftovers
from biote.corpora.ledger import join_ledgers, read_ledger
from biote.corpora.manifest import (
    CORPUS_FILE,
    LEDGER_FILE,
    CorpusInfo,
    MoleculeCounts,
    load_info,
)
from biote.corpora.packing import LARGEST_SHARD_BYTES, ShardPacker
from biote.corpora.plan import PLAN_FILE
from biote.corpora.shard_files import RecordMarks, ShardFiles, count_rows
from biote.corpora.shards import Corpus, ShardColumns
from biote.corpora.verify_shard import check_file
from biote.corpora.writer import SHARD_BYTES
from biote.errors import ConfigError, DataError
from biote.molecules import MOLECULES, Molecule
from biote.version import __version__

Progress = Callable[[int, int], None]


def merge(
    inputs: Sequence[Path],
    output: Path,
    *,
    drop_duplicates: bool = False,
    overwrite: bool = False,
    shard_bytes: int = SHARD_BYTES,
    progress: Progress | None = None,
) -> CorpusInfo:
    """Write the units of several corpora as one, in the order given.

    What one of the corpora holds out for validation, the merged one holds out wherever it stands.

    Args:
        inputs: Corpus folders, at least one.
        output: Corpus folder to make.
        drop_duplicates: Whether a record is left out that has the same sequence as an earlier
            one of its molecule type.
        overwrite: Whether another corpus that is in the output is replaced.
        shard_bytes: Most that a shard holds, unless a single unit is larger.
        progress: Told the bytes of the input shards that are written, and of all.

    Returns:
        The description of the merged corpus.

    Raises:
        DataError: If an input is no corpus or is damaged, the inputs have several tokenizers or
            one of them is there twice, or the output is an input, holds something else or cannot
            be written.
        ConfigError: If a shard of that size cannot be.
    """
    if not 1 <= shard_bytes <= LARGEST_SHARD_BYTES:
        raise ConfigError(
            f"shards of {shard_bytes:,} bytes",
            where="shard bytes",
            mend=f"give 1 to {LARGEST_SHARD_BYTES:,}",
        )
    corpora = [Corpus(folder) for folder in inputs]
    _check_inputs(corpora, output, drop_duplicates=drop_duplicates)
    for corpus in corpora:
        for _ in read_ledger(corpus.folder / LEDGER_FILE):
            pass  # every line is one, or this says which is not
    # All that the merged corpus says of itself that is not counted from the shards.
    told = CorpusInfo(
        biote_version=__version__,
        tokenizer_fingerprint=corpora[0].info.tokenizer_fingerprint,
        token_dtype=corpora[0].info.token_dtype,
        molecules={},
        shards=(),
        sources=tuple(source for corpus in corpora for source in corpus.info.sources),
        settings={
            "merged_from": " ".join(corpus.fingerprint for corpus in corpora),
            "drop_duplicates": drop_duplicates,
            "shard_bytes": shard_bytes,
        },
        validation=corpora[0].info.validation.union(c.info.validation for c in corpora[1:]),
        notes=tuple(
            f"{corpus.folder.resolve().name}: {note}"
            for corpus in corpora
            for note in corpus.info.notes
        ),
    )
    try:
        with locked(output):
            there = _merged_before(told, output)
            if there is None:
                _begin(output, overwrite=overwrite)
                corpora[0].tokenizer.save(output)
                ledgers = [corpus.folder / LEDGER_FILE for corpus in corpora]
                join_ledgers(ledgers, output / LEDGER_FILE)
                there = _write(corpora, output, told, progress)
            remove_leftovers(output, (shard.file for shard in there.shards))
            return there
    except OSError as error:
        raise DataError(
            error.strerror or str(error),
            where=str(error.filename or output),
            mend="mend that and merge again",
        ) from error


def _check_inputs(corpora: Sequence[Corpus], output: Path, *, drop_duplicates: bool) -> None:
    """Refuse inputs that cannot be merged into the output."""
    first = corpora[0]
    seen: dict[str, Path] = {}
    for corpus in corpora:
        if corpus.folder.resolve() == output.resolve():
            raise DataError(
                "is an input and the output", where=str(output), mend="name another output"
            )
        if corpus.tokenizer.fingerprint != first.tokenizer.fingerprint:
            one, other = (
                f"{c.folder} ({c.tokenizer.kind}, {c.tokenizer.vocab_size:,} ids, fingerprint "
                f"{c.tokenizer.fingerprint[:12]})"
                for c in (first, corpus)
            )
            raise DataError(
                f"the tokenizers differ: that of {one} and that of {other}",
                mend="prepare one of the corpora with the tokenizer of the other",
            )
        before = seen.setdefault(corpus.fingerprint, corpus.folder)
        if before is not corpus.folder and not drop_duplicates:
            raise DataError(
                f"the same corpus as {before}",
                where=str(corpus.folder),
                mend="give it once, or --drop-duplicates",
            )


def _merged_before(told: CorpusInfo, output: Path) -> CorpusInfo | None:
    """The corpus in the output, if it is the one that would be made."""
    if not (output / CORPUS_FILE).is_file():
        return None
    try:
        there = load_info(output)
    except DataError:
        return None
    same = replace(there, molecules={}, shards=(), notes=told.notes) == told
    return there if same and there.notes[: len(told.notes)] == told.notes else None


def _begin(output: Path, *, overwrite: bool) -> None:
    """Make the output empty."""
    for file, what in (
        (CORPUS_FILE, "holds another corpus already"),
        (PLAN_FILE, "holds an unfinished preparation"),
    ):
        if (output / file).exists() and not overwrite:
            raise DataError(what, where=str(output), mend="name another output or --overwrite")
    clear(output)


def _write(
    corpora: Sequence[Corpus], output: Path, told: CorpusInfo, progress: Progress | None
) -> CorpusInfo:
    """Write the shards and ``corpus.json``."""
    files = ShardFiles(
        [(corpus.folder / shard.file, shard) for corpus in corpora for shard in corpus.info.shards],
        np.dtype(told.token_dtype),
    )
    duplicates = RecordMarks(files.n_units)
    shards = _checked(files)
    if told.settings["drop_duplicates"]:
        for _ in shards:
            pass  # all of them, before any is compared with another
        duplicates, shards = find_duplicates(files), iter(files)
    shard_bytes = told.settings["shard_bytes"]
    assert isinstance(shard_bytes, int), "given"
    packer = ShardPacker(output, shard_bytes=shard_bytes)
    totals = {m: Counter[str]() for m in MOLECULES}
    for corpus in corpora:
        for molecule, counts in corpus.info.molecules.items():
            totals[molecule]["duplicates"] += counts.duplicates
    written, total = 0, sum(info.bytes for _, info in files.files)
    for index, (columns, dropped) in enumerate(duplicates.rows(shards)):
        path, info = files.files[index]
        for molecule, tally in count_rows(columns, dropped).items():
            totals[molecule]["duplicates"] += tally["records"]
        for molecule, tally in count_rows(columns, ~dropped, rule=told.validation).items():
            totals[molecule].update(tally)
        packer.add(path, columns, ~dropped)
        written += info.bytes
        if progress is not None:
            progress(written, total)
    molecules = {
        molecule: MoleculeCounts(**tally) for molecule, tally in totals.items() if tally["units"]
    }
    merged = replace(
        told,
        molecules=molecules,
        shards=packer.close(),
        notes=(*told.notes, *_split_notes(molecules)),
    )
    merged.save(output)
    return merged


def _checked(files: ShardFiles) -> Iterator[ShardColumns]:
    """Open one shard after the other, each as it was written.

    Raises:
        DataError: If a shard is damaged: its rows would pass for sound ones in the new corpus.
    """
    for index, (path, info) in enumerate(files.files):
        if (fault := check_file(path, sha256=info.sha256, size=info.bytes)) is not None:
            raise DataError(fault, where=str(path), mend="copy or prepare that corpus anew")
        yield files.open(index)


def _split_notes(molecules: Mapping[Molecule, MoleculeCounts]) -> Iterator[str]:
    """A line for every molecule type that the joined rules leave nothing of for training."""
    for molecule, counts in molecules.items():
        if counts.validation_units == counts.units:
            yield (
                f"{molecule.value}: no training unit, because what one of the corpora holds out "
                "is held out of all"
            )
