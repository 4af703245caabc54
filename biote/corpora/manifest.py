"""``corpus.json``: what a corpus folder holds, where it came from, and what is validation."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from biote.atomic import write_text_atomic
from biote.errors import DataError
from biote.molecules import MOLECULES, Molecule
from biote.tokenization.base import TOKENIZER_FILE

CORPUS_FILE: Final = "corpus.json"
LEDGER_FILE: Final = "ledger.jsonl"
FORMAT_VERSION: Final = 2


@dataclass(frozen=True, kw_only=True)
class ValidationRule:
    """Which units are validation: a pure function of the digest of their sequence."""

    fraction: float
    """Share of distinct sequences that was asked for."""
    threshold: int
    """Digests below it are validation."""
    extra_digests: frozenset[int] = frozenset()
    """Digests that are validation although they are not below the threshold."""

    def is_validation(self, digests: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
        """Tell validation from training.

        Args:
            digests: Digests of units, (N,).

        Returns:
            True for validation, (N,).
        """
        held_out = digests < np.uint64(self.threshold)
        if self.extra_digests:
            held_out |= np.isin(digests, np.array(sorted(self.extra_digests), np.uint64))
        return held_out

    def union(self, others: Iterable[ValidationRule]) -> ValidationRule:
        """The rule under which whatever one of the rules holds out is held out.

        Args:
            others: Rules of the other corpora of a mixture.
        """
        rules = [self, *others]
        return ValidationRule(
            fraction=max(rule.fraction for rule in rules),
            threshold=max(rule.threshold for rule in rules),
            extra_digests=frozenset().union(*(rule.extra_digests for rule in rules)),
        )

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; 64-bit numbers as hexadecimal, which every JSON reader keeps exact."""
        return {
            "fraction": self.fraction,
            "threshold": f"{self.threshold:016x}",
            "extra_digests": [f"{digest:016x}" for digest in sorted(self.extra_digests)],
        }


@dataclass(frozen=True, kw_only=True)
class MoleculeCounts:
    """What a corpus holds of one molecule type."""

    records: int = 0
    units: int = 0
    residues: int = 0
    """Residues or bases."""
    tokens: int = 0
    """Tokens, type tags and end tokens not counted."""
    duplicates: int = 0
    """Records left out because an earlier one of the type has the same sequence."""
    validation_units: int = 0
    validation_tokens: int = 0


@dataclass(frozen=True, kw_only=True)
class ShardInfo:
    """One shard file."""

    file: str
    """Path from the corpus folder."""
    rows: int
    tokens: int
    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class SourceInfo:
    """One file a corpus was made from."""

    file: str
    format: str
    bytes: int
    sha256: str
    molecule: str | None
    """Molecule type of all its records, where the format does not say."""
    molecule_guessed: bool
    """Whether that type was decided from the letters of the file."""
    records: int
    bad_records: int


@dataclass(frozen=True, kw_only=True)
class CorpusInfo:
    """The content of ``corpus.json``."""

    biote_version: str
    tokenizer_fingerprint: str
    token_dtype: str
    molecules: Mapping[Molecule, MoleculeCounts]
    shards: tuple[ShardInfo, ...]
    sources: tuple[SourceInfo, ...]
    settings: Mapping[str, str | int | float | bool | None]
    """What was asked for, beside sources and tokenizer."""
    validation: ValidationRule
    notes: tuple[str, ...]
    format_version: int = FORMAT_VERSION

    @property
    def bad_records(self) -> int:
        """Number of lines in the ledger."""
        return sum(source.bad_records for source in self.sources)

    @property
    def fingerprint(self) -> str:
        """SHA-256 over all that decides what a reader of the corpus gets."""
        content = {
            "format_version": self.format_version,
            "tokenizer": self.tokenizer_fingerprint,
            "token_dtype": self.token_dtype,
            "shards": [asdict(shard) for shard in self.shards],
            "validation": self.validation.to_json(),
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def save(self, folder: Path) -> None:
        """Write ``corpus.json``, whole or not at all: with it a folder becomes a corpus.

        Args:
            folder: Corpus folder, everything else in its place.
        """
        content = {
            "format_version": self.format_version,
            "biote_version": self.biote_version,
            "fingerprint": self.fingerprint,
            "tokenizer_fingerprint": self.tokenizer_fingerprint,
            "token_dtype": self.token_dtype,
            "settings": dict(self.settings),
            "molecules": {name.value: asdict(counts) for name, counts in self.molecules.items()},
            "validation": self.validation.to_json(),
            "bad_records": self.bad_records,
            "notes": list(self.notes),
            "sources": [asdict(source) for source in self.sources],
            "files": _describe_files(folder),
            "shards": [asdict(shard) for shard in self.shards],
        }
        content["checksum"] = checksum(content)
        write_text_atomic(folder / CORPUS_FILE, json.dumps(content, indent=2) + "\n")


def checksum(content: Mapping[str, Any]) -> str:
    """SHA-256 over all of a description but the checksum in it.

    Args:
        content: Content of ``corpus.json``.
    """
    rest = {key: value for key, value in content.items() if key != "checksum"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _describe_files(folder: Path) -> dict[str, str]:
    """SHA-256 of the ledger and of the files of the tokenizer."""
    path = folder / TOKENIZER_FILE
    models = json.loads(path.read_text()).get("models", []) if path.is_file() else []
    digests = {}
    for name in (LEDGER_FILE, TOKENIZER_FILE, *(model["file"] for model in models)):
        if (folder / name).is_file():
            with (folder / name).open("rb") as stream:
                digests[name] = hashlib.file_digest(stream, "sha256").hexdigest()
    return digests


def load_info(folder: Path) -> CorpusInfo:
    """Read ``corpus.json``.

    Args:
        folder: Corpus folder.

    Raises:
        DataError: If the folder is no corpus, its description is of another format version,
            cannot be read, or was changed after it was written.
    """
    path = folder / CORPUS_FILE
    if not path.is_file():
        raise DataError(
            f"no {CORPUS_FILE} there",
            where=str(folder),
            mend="give a folder made by `biote prepare`; one without it was not finished",
        )
    again = "prepare the corpus anew, or copy the folder again"
    try:
        content = json.loads(path.read_text())
        version = content["format_version"]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError("not a corpus description", where=str(path), mend=again) from error
    if version != FORMAT_VERSION:
        raise DataError(
            f"format version {version!r}, this biote reads {FORMAT_VERSION}",
            where=str(path),
            mend="install the biote version that wrote it, or prepare the corpus anew",
        )
    try:
        info = _from_json(content)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError("not a corpus description", where=str(path), mend=again) from error
    if content.get("fingerprint") != info.fingerprint:
        raise DataError(
            "changed after it was written: its fingerprint does not fit",
            where=str(path),
            mend=again,
        )
    if content.get("checksum") != checksum(content):
        raise DataError(
            "changed after it was written: its checksum does not fit", where=str(path), mend=again
        )
    return info


def _from_json(content: Mapping[str, Any]) -> CorpusInfo:
    rule = content["validation"]
    counts = {name: MoleculeCounts(**values) for name, values in content["molecules"].items()}
    return CorpusInfo(
        biote_version=content["biote_version"],
        tokenizer_fingerprint=content["tokenizer_fingerprint"],
        token_dtype=np.dtype(content["token_dtype"]).name,
        molecules={m: counts[m.value] for m in MOLECULES if m.value in counts},
        shards=tuple(ShardInfo(**shard) for shard in content["shards"]),
        sources=tuple(SourceInfo(**source) for source in content["sources"]),
        settings=dict(content["settings"]),
        validation=ValidationRule(
            fraction=rule["fraction"],
            threshold=int(rule["threshold"], 16),
            extra_digests=frozenset(int(digest, 16) for digest in rule["extra_digests"]),
        ),
        notes=tuple(content["notes"]),
    )
