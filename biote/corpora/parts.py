"""The work on one part of the input: a source file, or a block of a FASTA file.

The work is a pure function of the part: shards, a part of the ledger and a result with the same
bytes in any process, on any machine that sees the files, and in any order. The result is written
last, so a part with a result is done and is never done again.
"""

from __future__ import annotations

import functools
import json
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from biote.atomic import write_text_atomic
from biote.corpora.fasta import FastaBlock, read_block
from biote.corpora.ledger import open_ledger
from biote.corpora.manifest import ShardInfo
from biote.corpora.provenance import FileDigest, check_unchanged
from biote.corpora.records import BadRecord
from biote.corpora.sources import Source, SourceFormat, guess_molecule, read_source
from biote.corpora.units import make_units
from biote.corpora.writer import ShardWriter
from biote.errors import ConfigError
from biote.molecules import Molecule
from biote.tokenization import Tokenizer, load_tokenizer
from biote.version import __version__

PROGRESS_FOLDER: Final = "progress"  # results and ledgers of parts, until the corpus is whole
SCRATCH_FOLDER: Final = f"{PROGRESS_FOLDER}/scratch"


@dataclass(frozen=True, kw_only=True)
class PartTask:
    """All that decides what is made of one part."""

    source: Source
    source_identity: str
    """Of the source when it was listed; see `biote.corpora.provenance`."""
    index: int
    """Place of the source among the sorted inputs."""
    number: int = 0
    """Number of the part among those of the source."""
    block: FastaBlock | None = None
    """Block of a FASTA file; without one the part is the whole file."""
    output: Path
    tokenizer_fingerprint: str
    """Of the tokenizer saved in the output folder."""
    molecule: Molecule | None
    """Molecule type of the records where the format does not say."""
    shard_bytes: int
    biote_version: str = __version__

    @property
    def name(self) -> str:
        """Name of the files that tell of the part."""
        return f"{self.index:05d}-{self.number:05d}"

    @property
    def result_path(self) -> Path:
        """File of the result."""
        return self.output / PROGRESS_FOLDER / f"{self.name}.json"

    @property
    def ledger_path(self) -> Path:
        """File of the part of the ledger."""
        return self.output / PROGRESS_FOLDER / f"{self.name}.jsonl"


@dataclass(frozen=True, kw_only=True)
class PartResult:
    """What was made of one part."""

    source_identity: str
    """Of the source as it was read."""
    sha256: str | None
    """Of the source, if the part is the whole file."""
    molecule: Molecule | None
    """Molecule type of all records, where the format does not say."""
    shards: tuple[ShardInfo, ...]
    counts: dict[Molecule, Counter[str]]
    bad_records: int
    """Lines of the ledger."""

    @property
    def records(self) -> int:
        """Records in the shards."""
        return sum(tally["records"] for tally in self.counts.values())

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "source_identity": self.source_identity,
            "sha256": self.sha256,
            "molecule": self.molecule and self.molecule.value,
            "shards": [asdict(shard) for shard in self.shards],
            "counts": {molecule.value: dict(tally) for molecule, tally in self.counts.items()},
            "bad_records": self.bad_records,
        }

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> PartResult:
        """Read what `to_json` gave."""
        return cls(
            source_identity=content["source_identity"],
            sha256=content["sha256"],
            molecule=content["molecule"] and Molecule(content["molecule"]),
            shards=tuple(ShardInfo(**shard) for shard in content["shards"]),
            counts={Molecule(name): Counter(t) for name, t in content["counts"].items()},
            bad_records=content["bad_records"],
        )


def prepare_part(task: PartTask) -> PartResult:
    """Make the shards, the ledger part and the result of one part.

    Args:
        task: All that decides the result.

    Raises:
        ConfigError: If this process runs another version than the one that asks.
        DataError: If the source changed while it was read.
    """
    if task.biote_version != __version__:
        raise ConfigError(
            f"a worker runs biote {__version__}, the preparation {task.biote_version}",
            where="--scheduler",
            mend="install one version everywhere",
        )
    source = task.source
    tokenizer = _tokenizer(task.output, task.tokenizer_fingerprint)
    writer = ShardWriter(
        task.output,
        tokenizer,
        source=task.index,
        part=task.number,
        shard_bytes=task.shard_bytes,
    )
    scratch = task.output / SCRATCH_FOLDER
    scratch.mkdir(parents=True, exist_ok=True)
    digest = FileDigest(source.path)
    molecule = None if source.format is SourceFormat.GENBANK else task.molecule
    if molecule is None and source.format is not SourceFormat.GENBANK:
        molecule = guess_molecule(source)
    if task.block is None:
        records = read_source(source, molecule, scratch=scratch, on_block=digest)
    else:
        assert molecule is not None, "FASTA"
        records = read_block(task.block, molecule, source=str(source.path), scratch=scratch)
    lines = bad_records = 0
    with open_ledger(task.ledger_path) as note:
        for record in records:
            lines += 1
            units = record if isinstance(record, BadRecord) else make_units(record, tokenizer)
            if isinstance(units, BadRecord):
                note(units)
                bad_records += 1
                continue
            for unit in units:
                writer.add(unit)
        if not lines and task.block is None:
            note(BadRecord(str(source.path), 1, "", "no record in the file"))
            bad_records += 1
    shards = writer.close()
    result = PartResult(
        source_identity=task.source_identity,
        sha256=digest.finish() if task.block is None else None,
        molecule=molecule,
        shards=shards,
        counts=writer.counts,
        bad_records=bad_records,
    )
    check_unchanged(source, task.source_identity)
    write_text_atomic(task.result_path, json.dumps(result.to_json()) + "\n")
    return result


def finished_result(task: PartTask) -> PartResult | None:
    """The result of a part that is done, as long as nothing it was made of has changed.

    Args:
        task: The part.
    """
    try:
        result = PartResult.from_json(json.loads(task.result_path.read_text()))
    except (OSError, ValueError, KeyError, TypeError):
        return None  # not done, or not by this version: it is done anew
    if result.source_identity != task.source_identity or not task.ledger_path.is_file():
        return None
    for shard in result.shards:
        path = task.output / shard.file
        if not path.is_file() or path.stat().st_size != shard.bytes:
            return None
    return result


@functools.lru_cache(maxsize=1)
def _tokenizer(folder: Path, fingerprint: str) -> Tokenizer:
    """The tokenizer of a corpus folder, loaded once a process."""
    tokenizer = load_tokenizer(folder)
    assert tokenizer.fingerprint == fingerprint, "saved before the first part"
    return tokenizer
