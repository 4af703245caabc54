"""Sources read once, and a random sample of each modality drawn from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from biote.corpora.bpe_training.pieces import (
    CorpusSourceInfo,
    find_training_sources,
    source_bytes,
    take_corpus,
    take_file,
)
from biote.corpora.bpe_training.reservoir import Reservoir
from biote.corpora.ledger import open_ledger
from biote.corpora.manifest import SourceInfo
from biote.corpora.records import BadRecord
from biote.errors import DataError
from biote.molecules import Modality, Molecule

SourceRead = SourceInfo | CorpusSourceInfo


@dataclass(frozen=True, kw_only=True)
class SampleCounts:
    """What there was of one modality, and what was taken."""

    characters_seen: int
    pieces_seen: int
    characters_sampled: int
    pieces_sampled: int


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What was read, and what was drawn."""

    sources: tuple[SourceRead, ...]
    reservoirs: Mapping[Modality, Reservoir]
    """Of every modality; one without room only counted."""
    first_bad: BadRecord | None
    """The first record that could not be used."""

    @property
    def bad_records(self) -> int:
        """Records that could not be used."""
        return sum(s.bad_records for s in self.sources if isinstance(s, SourceInfo))

    def counts(self, modality: Modality) -> SampleCounts:
        """Count a modality.

        Args:
            modality: Which.
        """
        reservoir = self.reservoirs[modality]
        return SampleCounts(
            characters_seen=reservoir.characters_seen,
            pieces_seen=reservoir.pieces_seen,
            characters_sampled=reservoir.characters,
            pieces_sampled=len(reservoir),
        )

    def require(self, modality: Modality) -> None:
        """Refuse a modality that leaves nothing to train on.

        Args:
            modality: Which.

        Raises:
            DataError: If there are fewer than two pieces of it, one to train on and one to
                measure with.
        """
        count = self.counts(modality)
        if count.pieces_sampled > 1:
            return
        found, mend = "only one piece of a", f"add {modality} sequences"
        if not count.pieces_seen:
            found = "no"
            for other, reservoir in self.reservoirs.items():
                if reservoir.pieces_seen:
                    mend += f", or train on the others alone: --modality {other}"
            if any(isinstance(s, SourceInfo) and s.molecule_guessed for s in self.sources):
                mend += ", or say what the records are: --molecule"
        raise DataError(
            f"{found} {modality} sequence: {self._describe()}",
            where=", ".join(_name(source) for source in self.sources[:3])
            + ("" if len(self.sources) <= 3 else f" and {len(self.sources) - 3:,} more"),
            mend=mend,
        )

    def _describe(self) -> str:
        """What there was instead, and what was wrong with it."""
        usable = sum(s.records if isinstance(s, SourceInfo) else s.units for s in self.sources)
        characters = " and ".join(f"{r.characters_seen:,} {m}" for m, r in self.reservoirs.items())
        text = f"{usable:,} usable records of {characters} characters"
        if self.first_bad is None:
            return f"{text}, no bad records"
        bad = self.first_bad
        place = f"{bad.source}:{bad.line} {bad.record}".rstrip()
        why = f"{bad.reason} {bad.detail}".rstrip()
        return f"{text}, {self.bad_records:,} bad records, the first {place}: {why}"


def draw_sample(
    sources: Sequence[Path],
    *,
    rooms: Mapping[Modality, int],
    seed: int,
    molecule: Molecule | None,
    ledger: Path,
    scratch: Path,
    progress: Callable[[int, int], None] | None = None,
    on_source: Callable[[SourceRead], None] | None = None,
) -> Sample:
    """Read all sources once.

    Args:
        sources: Raw files, folders to search for them, and corpus folders.
        rooms: Characters to sample of every modality; 0 only counts them.
        seed: Decides the sample.
        molecule: Molecule type of the records where the format does not say; without one it is
            decided from their letters.
        ledger: File for the records that cannot be used.
        scratch: Folder for records that are too large for the memory.
        progress: Told how many bytes of the input are read, and how many there are.
        on_source: Told of every source when it is read.

    Raises:
        DataError: If a source is not there, cannot be read or changes meanwhile.
    """
    files, corpora = find_training_sources(sources)
    reservoirs = {m: Reservoir(room, seed=f"{seed} {m}") for m, room in rooms.items()}
    total, done = source_bytes(files, corpora), 0
    first_bad: BadRecord | None = None
    read: list[SourceRead] = []

    def advance(number: int) -> None:
        nonlocal done
        done += number
        if progress is not None:
            progress(done, total)

    def take(modality: Modality, piece: bytes) -> None:
        reservoirs[modality].add(piece)

    def add(source: SourceRead) -> None:
        read.append(source)
        if on_source is not None:
            on_source(source)

    with open_ledger(ledger) as write_line:

        def note(bad: BadRecord) -> None:
            nonlocal first_bad
            first_bad = first_bad or bad
            write_line(bad)

        for file in files:
            add(take_file(file, molecule, take=take, note=note, advance=advance, scratch=scratch))
    for corpus in corpora:
        add(take_corpus(corpus, take=take, advance=advance))
    return Sample(sources=tuple(read), reservoirs=reservoirs, first_bad=first_bad)


def _name(source: SourceRead) -> str:
    return source.file if isinstance(source, SourceInfo) else source.corpus
