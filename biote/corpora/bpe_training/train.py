"""Sequences to a tokenizer folder: sample, train, measure, write down where it came from."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import sentencepiece

from biote.atomic import atomic_path, write_text_atomic
from biote.corpora.bpe_training.folder import TRAINING_FILE, new_tokenizer_folder
from biote.corpora.bpe_training.memory import characters_held
from biote.corpora.bpe_training.model import (
    Compression,
    check_pieces,
    measure,
    model_options,
    train_model,
)
from biote.corpora.bpe_training.pieces import PIECE_CHARACTERS
from biote.corpora.bpe_training.sample import SampleCounts, SourceRead, draw_sample
from biote.corpora.manifest import LEDGER_FILE
from biote.errors import ConfigError, DataError
from biote.molecules import Modality, Molecule
from biote.tokenization import BPETokenizer
from biote.version import __version__

_FORMAT_VERSION: Final = 1
_HELD_OUT_SHARE: Final = 0.01
_HELD_OUT_CHARACTERS: Final = 1_000_000
_SCRATCH: Final = "scratch"


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """What to train, and on how much.

    Raises:
        ConfigError: If a number cannot work.
    """

    characters: int
    """Characters to sample of every modality."""
    pieces: int
    """Ids of every model."""
    memory_bytes: int
    """Memory the training may take."""
    modalities: tuple[Modality, ...] = tuple(Modality)
    """A model each; sequences of the other are left out."""
    molecule: Molecule | None = None
    """Molecule type of FASTA and Parquet records; decided from their letters without it."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.characters < 2 * PIECE_CHARACTERS:
            raise ConfigError(
                f"{self.characters:,} characters are too few to sample from",
                where="--characters",
                mend=f"give at least {2 * PIECE_CHARACTERS:,}",
            )
        for modality in self.modalities:
            check_pieces(modality, self.pieces)
        assert self.characters_held >= 2 * PIECE_CHARACTERS, "less memory is refused"

    @property
    def characters_held(self) -> int:
        """Characters of a modality that the memory holds."""
        return characters_held(self.memory_bytes, pieces=self.pieces)

    @property
    def room(self) -> int:
        """Most characters of a modality that are sampled."""
        return min(self.characters, self.characters_held)


@dataclass(frozen=True, kw_only=True)
class TrainingReport:
    """What a training did."""

    output: Path
    samples: Mapping[Modality, SampleCounts]
    compression: Mapping[Modality, Compression]
    """On the part of the sample that was held out of the training."""
    left_out: Mapping[Modality, int]
    """Characters of the modality that was not asked for."""
    ledger: Path
    bad_records: int


def train_tokenizer(
    sources: Sequence[Path],
    output: Path,
    *,
    settings: TrainingSettings,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
    on_source: Callable[[SourceRead], None] | None = None,
    on_training: Callable[[Modality, int], None] | None = None,
) -> TrainingReport:
    """Train a model for every modality and write them as a tokenizer folder.

    The folder appears when it is whole. The memory is bounded by the settings, however much is
    read and however much is asked for.

    Args:
        sources: Raw files, folders to search for them, and corpus folders.
        output: Tokenizer folder to make.
        settings: What to train.
        overwrite: Whether a tokenizer that is in the folder is replaced.
        progress: Told how many bytes of the input are read, and how many there are.
        on_source: Told of every source when it is read.
        on_training: Told when the training of a modality begins, and its characters.

    Returns:
        What went in, and how the models write sequences that were held out.

    Raises:
        DataError: If a source cannot be read, a modality is missing from the sources or too
            small for the pieces asked for, or the folder cannot be written.
    """
    try:
        with new_tokenizer_folder(output, overwrite=overwrite) as build:
            scratch = build / _SCRATCH
            scratch.mkdir()
            drawn = draw_sample(
                sources,
                # No room for what is not asked for: it is only counted.
                rooms={m: settings.room if m in settings.modalities else 0 for m in Modality},
                seed=settings.seed,
                molecule=settings.molecule,
                ledger=build / LEDGER_FILE,
                scratch=scratch,
                progress=progress,
                on_source=on_source,
            )
            shutil.rmtree(scratch)
            for modality in settings.modalities:
                drawn.require(modality)
            counts = {m: drawn.counts(m) for m in settings.modalities}
            others = {m: drawn.counts(m) for m in Modality if m not in counts}
            left_out = {m: c.characters_seen for m, c in others.items() if c.characters_seen}
            compression: dict[Modality, Compression] = {}
            paths: dict[Modality, Path] = {}
            for modality, count in counts.items():
                if on_training is not None:
                    on_training(modality, count.characters_sampled)
                held_out, sample = _hold_out(drawn.reservoirs[modality].take())
                model = train_model(sample, modality, pieces=settings.pieces)
                compression[modality] = measure(model, held_out)
                paths[modality] = build / f"{modality}.model"
                with atomic_path(paths[modality]) as partial:
                    partial.write_bytes(model)
            tokenizer = BPETokenizer(*paths.values())
            tokenizer.save(build)
            content = _provenance(settings, paths, counts, compression) | {
                "tokenizer_fingerprint": tokenizer.fingerprint,
                "left_out_characters": left_out,
                "sources": [asdict(source) for source in drawn.sources],
                "bad_records": drawn.bad_records,
            }
            write_text_atomic(build / TRAINING_FILE, json.dumps(content, indent=2) + "\n")
    except OSError as error:
        raise DataError(
            error.strerror or str(error),
            where=str(error.filename or output),
            mend="free the way and train again",
        ) from error
    return TrainingReport(
        output=output,
        samples=counts,
        compression=compression,
        left_out=left_out,
        ledger=output / LEDGER_FILE,
        bad_records=drawn.bad_records,
    )


def _hold_out(sample: Sequence[bytes]) -> tuple[Sequence[bytes], Sequence[bytes]]:
    """Part the sample, which is in random order, in what measures and what trains."""
    most = min(_HELD_OUT_SHARE * sum(map(len, sample)), _HELD_OUT_CHARACTERS)
    number, characters = 1, len(sample[0])
    while characters + len(sample[number]) <= most:
        characters += len(sample[number])
        number += 1
    return sample[:number], sample[number:]


def _provenance(
    settings: TrainingSettings,
    paths: Mapping[Modality, Path],
    counts: Mapping[Modality, SampleCounts],
    compression: Mapping[Modality, Compression],
) -> dict[str, Any]:
    return {
        "format_version": _FORMAT_VERSION,
        "biote_version": __version__,
        "sentencepiece_version": sentencepiece.__version__,
        "seed": settings.seed,
        "molecule": settings.molecule.value if settings.molecule else "auto",
        "characters_asked": settings.characters,
        "characters_room": settings.room,
        "piece_characters": PIECE_CHARACTERS,
        "models": {
            modality.value: {
                "file": path.name,
                "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
                **asdict(counts[modality]),
                "held_out": asdict(compression[modality]),
                "options": model_options(modality, settings.pieces),
            }
            for modality, path in paths.items()
        },
    }
