"""Records of a corpus drawn at random and spelt out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from biote.corpora.shard_files import reduce_records
from biote.corpora.shards import Corpus, ShardColumns, Units
from biote.errors import ConfigError, DataError
from biote.molecules import MOLECULES, Molecule

SampledSplit = Literal["train", "validation", "all"]

FASTA_COLUMNS: Final = 60


@dataclass(frozen=True)
class SampledRecord:
    """A record to be spelt out."""

    id: str
    molecule: Molecule
    residues: int
    first_unit: int
    units: int


def draw_records(
    corpus: Corpus,
    n: int,
    *,
    seed: int,
    molecule: Molecule | None = None,
    split: SampledSplit = "all",
) -> list[SampledRecord]:
    """Draw distinct records, every record as likely as any other.

    Memory for the columns of one shard and the records drawn, whatever the size of the corpus.

    Args:
        corpus: Corpus to draw from.
        n: Number of records.
        seed: Decides which.
        molecule: Molecule type of the records; by default any.
        split: Split that every unit of a record is in.

    Returns:
        The records in the order of the corpus; fewer if there are no more.

    Raises:
        ConfigError: If n is below 1 or the seed below 0.
        DataError: If the corpus holds no record of the molecule type, or its shards are damaged.
    """
    if n < 1:
        raise ConfigError(f"{n} records", where="records", mend="give at least 1")
    if seed < 0:
        raise ConfigError(f"a seed of {seed}", where="seed", mend="give 0 or more")
    if molecule is not None and molecule not in corpus.info.molecules:
        held = ", ".join(name.value for name in corpus.info.molecules)
        raise DataError(
            f"holds no {molecule.value}", where=str(corpus.folder), mend=f"it holds {held}"
        )

    def suits(shard: ShardColumns, _: Units) -> npt.NDArray[np.bool_]:
        flags = np.ones(len(shard.digests), np.bool_)
        if molecule is not None:
            flags &= shard.molecules == molecule.code
        if split != "all":
            held_out = corpus.info.validation.is_validation(shard.digests)
            flags &= held_out == (split == "validation")
        return flags

    # Every record gets a random key; those with the smallest keys are drawn.
    rng = np.random.default_rng(seed)
    drawn, keys = np.empty(0, np.int64), np.empty(0, np.float64)
    shards = (shard for _, shard in corpus.shard_units())
    for units, suitable in reduce_records(shards, suits, np.logical_and):
        chosen = units[suitable]
        drawn = np.concatenate([drawn, chosen])
        keys = np.concatenate([keys, rng.random(len(chosen))])
        if len(keys) > n:
            smallest = np.argpartition(keys, n - 1)[:n]
            drawn, keys = drawn[smallest], keys[smallest]
    with _damage_named(corpus):
        return [_record(corpus, unit) for unit in np.sort(drawn).tolist()]


def write_fasta(corpus: Corpus, record: SampledRecord) -> Iterator[str]:
    """Yield a record as FASTA, some lines at a time.

    Args:
        corpus: Corpus it was drawn from.
        record: Record to spell out.

    Raises:
        DataError: If the shards are damaged.
    """
    yield f">{record.id} {record.molecule.value} {record.residues}\n"
    rest = ""
    for unit in range(record.first_unit, record.first_unit + record.units):
        with _damage_named(corpus):
            ids = corpus.tokens(unit, 0, int(corpus.lengths(np.array([unit]))[0]))
        letters = rest + corpus.tokenizer.decode(ids.tolist(), record.molecule)
        whole = len(letters) - len(letters) % FASTA_COLUMNS
        yield "".join(f"{letters[i : i + FASTA_COLUMNS]}\n" for i in range(0, whole, FASTA_COLUMNS))
        rest = letters[whole:]
    if rest:
        yield f"{rest}\n"


@contextmanager
def _damage_named(corpus: Corpus) -> Iterator[None]:
    """Name the corpus where its columns do not fit together."""
    try:
        yield
    except (IndexError, UnicodeDecodeError) as error:
        raise DataError(
            "its shards are damaged",
            where=str(corpus.folder),
            mend="`biote corpus verify` tells which",
        ) from error


def _record(corpus: Corpus, first_unit: int) -> SampledRecord:
    last, residues = first_unit, 0
    while True:
        unit = np.array([last])
        residues += int(corpus.residues(unit)[0])
        if corpus.ends_record(unit)[0]:
            break
        last += 1
    return SampledRecord(
        id=corpus.record_id(first_unit),
        molecule=MOLECULES[int(corpus.molecule_codes(np.array([first_unit]))[0])],
        residues=residues,
        first_unit=first_unit,
        units=last - first_unit + 1,
    )
