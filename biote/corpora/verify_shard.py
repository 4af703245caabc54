"""One shard against what ``corpus.json`` says of it.

Legend: N units of the shard, L tokens.
"""

from __future__ import annotations

import functools
import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa

from biote.corpora.manifest import ShardInfo, ValidationRule
from biote.corpora.shard_files import Flags, count_rows, ended_rows, read_batch
from biote.corpora.shards import ShardColumns
from biote.errors import DataError
from biote.molecules import MOLECULES, Modality, Molecule, canonical_bytes
from biote.splits import sequence_digest
from biote.tokenization import Ids, Tokenizer, load_tokenizer

_IDS_AT_ONCE: Final = 1 << 22
_BYTE_VALUES: Final = 256
_UNKNOWN_LETTER: Final = b"?"  # in no alphabet, so every tokenizer gives it its unknown id


@dataclass(frozen=True, kw_only=True)
class ShardTask:
    """A shard to check."""

    folder: Path
    """Corpus folder."""
    info: ShardInfo
    tokenizer_fingerprint: str
    """Of the tokenizer in the folder."""
    token_dtype: str
    rule: ValidationRule
    deep: bool
    """Whether every unit is decoded and its digest worked out anew."""


@dataclass(frozen=True)
class Edge:
    """The first or the last unit of a shard."""

    record: str
    molecule: Molecule
    start: int
    stop: int
    """One past its last residue in the record."""
    ends_record: bool


@dataclass
class ShardFindings:
    """What was found in a shard."""

    faults: list[str] = field(default_factory=list)
    counts: dict[Molecule, Counter[str]] = field(default_factory=dict)
    edges: tuple[Edge, Edge] | None = None
    """First and last unit, where they could be read."""
    not_decodable: int = 0
    """Units that no decoding can give back, because they hold unknown tokens."""


def check_shard(task: ShardTask) -> ShardFindings:
    """Check size, SHA-256, rows, tokens, and the content of a shard.

    Args:
        task: The shard.
    """
    path = task.folder / task.info.file
    found = ShardFindings()
    try:
        fault = check_file(path, sha256=task.info.sha256, size=task.info.bytes)
        if fault is not None:
            found.faults.append(fault)
            return found  # what else is wrong with it follows from that
        columns = ShardColumns(path, task.info, np.dtype(task.token_dtype))
        batch = read_batch(path)
        batch.validate(full=True)
    except DataError as error:
        found.faults.append(error.what)
        return found
    except pa.ArrowInvalid as error:
        found.faults.append(f"not valid Arrow data: {error}")
        return found
    if any(column.null_count for column in batch.columns):
        found.faults.append("values are missing in it")
    elif len(columns.digests) == 0:
        found.faults.append("holds no unit")
    else:
        tokenizer = _tokenizer(task.folder, task.tokenizer_fingerprint)
        found.faults.extend(_content_faults(columns, tokenizer))
        found.counts = count_rows(columns, rule=task.rule)
        last = len(columns.digests) - 1
        found.edges = _edge(columns, 0), _edge(columns, last)
        if task.deep and not found.faults:
            _decode(columns, tokenizer, found)
    return found


def check_file(path: Path, *, sha256: str, size: int | None = None) -> str | None:
    """What is wrong with a file, if anything.

    Args:
        path: The file.
        sha256: What it should be.
        size: Bytes it should have.
    """
    try:
        if size is not None and (there := path.stat().st_size) != size:
            return f"{there} bytes, corpus.json says {size}"
        with path.open("rb") as stream:
            if hashlib.file_digest(stream, "sha256").hexdigest() != sha256:
                return "its SHA-256 is not the one in corpus.json"
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return None


@functools.lru_cache(maxsize=1)
def _tokenizer(folder: Path, fingerprint: str) -> Tokenizer:
    """The tokenizer of a corpus folder, loaded once a process."""
    tokenizer = load_tokenizer(folder)
    assert tokenizer.fingerprint == fingerprint, "checked before the first shard"
    return tokenizer


def _content_faults(shard: ShardColumns, tokenizer: Tokenizer) -> Iterator[str]:
    """What is wrong with the columns of a shard."""
    lengths = np.diff(shard.offsets)
    if shard.offsets[0] != 0 or shard.offsets[-1] != len(shard.tokens) or (lengths < 0).any():
        yield "the offsets of the units do not divide the tokens"
        return  # no unit can be looked at
    yield from _named(shard, (lengths == 0) | (shard.residues == 0), "hold nothing")
    yield from _named(shard, _out_of_place(shard), "do not go on where the record was")
    special = np.zeros(tokenizer.vocab_size, np.bool_)
    special[tokenizer.special_ids] = True
    outside = inside = 0
    for begin in range(0, len(shard.tokens), _IDS_AT_ONCE):
        ids = shard.tokens[begin : begin + _IDS_AT_ONCE]
        known = ids < tokenizer.vocab_size
        outside += int((~known).sum())
        inside += int(special[ids[known]].sum())
    if outside:
        yield f"{outside:,} token ids are beyond the vocabulary of {tokenizer.vocab_size:,}"
    if inside:
        yield f"{inside:,} tokens are special ones"


def _out_of_place(shard: ShardColumns) -> Flags:
    """Units that do not begin where the unit before ends, or are of another record, (N,)."""
    wrong = np.zeros(len(shard.digests), np.bool_)
    goes_on = ~ended_rows(shard)[:-1]
    stops = np.where(goes_on, shard.starts[:-1] + shard.residues[:-1], np.uint64(0))
    wrong[1:] = shard.starts[1:] != stops
    for row in np.flatnonzero(goes_on).tolist():
        one, other = _edge(shard, row), _edge(shard, row + 1)
        wrong[row + 1] |= (one.record, one.molecule) != (other.record, other.molecule)
    return wrong


def _named(shard: ShardColumns, wrong: Flags, what: str) -> Iterator[str]:
    """A fault of some units, which names the first of them."""
    rows = np.flatnonzero(wrong)
    if len(rows):
        record = _edge(shard, int(rows[0])).record
        yield f"{len(rows):,} units {what}, first row {rows[0]} of record {record}"


def _edge(shard: ShardColumns, row: int) -> Edge:
    name = shard.id_bytes[shard.id_offsets[row] : shard.id_offsets[row + 1]].tobytes().decode()
    start = int(shard.starts[row])
    return Edge(
        record=name,
        molecule=MOLECULES[shard.molecules[row]],
        start=start,
        stop=start + int(shard.residues[row]),
        ends_record=bool(shard.ends_bits[row >> 3] >> (row & 7) & 1),
    )


class _Speller:
    """Decodes many sequences of one modality: what a token spells does not depend on the others.

    Args:
        tokenizer: Tokenizer of the corpus.
        molecule: A molecule type of the modality.
    """

    def __init__(self, tokenizer: Tokenizer, molecule: Molecule) -> None:
        ids = range(tokenizer.vocab_size)
        self._pieces = [tokenizer.decode([i], molecule).encode() for i in ids]
        self.unknown = tokenizer.encode_spelled([_UNKNOWN_LETTER], molecule.modality)[0][0]
        bytewise = len(ids) <= _BYTE_VALUES and all(len(piece) <= 1 for piece in self._pieces)
        letters = [piece or b"\0" for piece in self._pieces]
        self._table = b"".join(letters).ljust(_BYTE_VALUES, b"\0") if bytewise else None

    def spell(self, ids: Ids) -> bytes:
        """Letters of bare ids, all of them below the vocabulary size and none of them special."""
        if self._table is not None:
            return ids.astype(np.uint8).tobytes().translate(self._table)
        return b"".join(map(self._pieces.__getitem__, ids.tolist()))


@functools.lru_cache(maxsize=len(Modality))
def _speller(tokenizer: Tokenizer, modality: Modality) -> _Speller:
    return _Speller(tokenizer, next(m for m in MOLECULES if m.modality is modality))


def _decode(shard: ShardColumns, tokenizer: Tokenizer, found: ShardFindings) -> None:
    """Decode every unit and compare length and digest."""
    lengths = np.zeros(len(shard.digests), np.bool_)
    digests = lengths.copy()
    for row in range(len(shard.digests)):
        modality = MOLECULES[shard.molecules[row]].modality
        speller = _speller(tokenizer, modality)
        ids = shard.tokens[shard.offsets[row] : shard.offsets[row + 1]]
        letters = speller.spell(ids)
        if len(letters) != shard.residues[row]:
            lengths[row] = True
        elif _digest(letters, modality) != shard.digests[row]:
            if (ids == speller.unknown).any():
                found.not_decodable += 1
            else:
                digests[row] = True
    found.faults.extend(_named(shard, lengths, "do not decode to the residues they should"))
    found.faults.extend(_named(shard, digests, "do not decode to the sequence of their digest"))


def _digest(letters: bytes, modality: Modality) -> int | None:
    """The digest of decoded letters, if they are a sequence."""
    try:
        return sequence_digest(canonical_bytes(letters, modality))
    except DataError:
        return None
