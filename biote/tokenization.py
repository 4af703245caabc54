"""Sequences to token ids and back, with the residues that every token stands for.

Legend: L tokens of one sequence, V vocabulary size.

A tokenizer is a folder: ``tokenizer.json`` (kind, options, vocabulary size, special ids,
fingerprint) and, for BPE, the SentencePiece models beside it. The fingerprint covers all that
decides an id, so two corpora or weights with one fingerprint can be used together.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import sentencepiece

from biote.errors import DataError
from biote.molecules import (
    MOLECULES,
    NUCLEIC_MOLECULES,
    NUCLEOTIDES,
    RESIDUES,
    Modality,
    Molecule,
    ascii_letters,
    canonical_bytes,
)

Ids = npt.NDArray[np.unsignedinteger[Any]]
AmbiguityMode = Literal["canonical", "released"]

TOKENIZER_FILE: Final = "tokenizer.json"
FORMAT_VERSION: Final = 1
BPE_PIECE_CHARACTERS: Final = 65_536
"""Long sequences are encoded in pieces of this many characters: SentencePiece's time grows
faster than the length, and a fixed cut makes the ids independent of how a file was read."""

_DUMMY_PREFIX: Final = "\u2581"


@dataclass(frozen=True)
class Encoding:
    """Token ids of one sequence and the residues each stands for."""

    ids: Ids
    """Token ids, (L,)."""

    spans: npt.NDArray[np.int64]
    """First residue and one past the last residue of every token, (L, 2)."""


class Tokenizer(ABC):
    """Token ids for sequences of any molecule type, and the special ids around them."""

    kind: str
    ambiguity: AmbiguityMode

    vocab_size: int
    """Number of ids, V; every id is below it."""

    unk_id: int
    pad_id: int
    mask_id: int

    @abstractmethod
    def tag_id(self, molecule: Molecule) -> int:
        """Id of the type tag that opens a sequence of this molecule."""

    @abstractmethod
    def eos_id(self, modality: Modality) -> int:
        """Id of the end-of-sequence token of one modality."""

    @property
    @abstractmethod
    def special_ids(self) -> npt.NDArray[np.int64]:
        """Sorted ids that stand for no residue and are never masked, those of both ranges."""

    @abstractmethod
    def _encode_canonical(self, sequence: bytes, modality: Modality) -> Ids:
        """Bare ids of a canonical sequence, (L,)."""

    @abstractmethod
    def _residues_per_token(self, ids: Ids, modality: Modality) -> npt.NDArray[np.int64]:
        """How many residues each id stands for, (L,)."""

    @abstractmethod
    def _letters(self, ids: Iterable[int], modality: Modality) -> str:
        """The residues of bare ids."""

    @abstractmethod
    def _description(self) -> dict[str, Any]:
        """All that decides an id, as JSON; the fingerprint covers it."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Smallest unsigned type that holds every id: uint16 up to 65,536 ids, else uint32."""
        return np.dtype(np.uint16 if self.vocab_size <= 65_536 else np.uint32)

    def canonical(self, sequence: bytes, modality: Modality, *, record: str = "sequence") -> bytes:
        """Spell a sequence as this tokenizer reads it; every letter keeps its place.

        Args:
            sequence: ASCII letters in any case.
            modality: Alphabet of the sequence.
            record: Record id for the error message.

        Raises:
            DataError: On a character outside the alphabet.
        """
        return canonical_bytes(
            sequence, modality, record=record, fold_ambiguous=self.ambiguity == "canonical"
        )

    def encode_ids(
        self, sequence: str | bytes, molecule: Molecule, *, record: str = "sequence"
    ) -> Ids:
        """Encode a sequence as bare ids, without type tag and end token.

        Args:
            sequence: Letters in any case.
            molecule: Molecule type.
            record: Record id for the error message.

        Returns:
            Ids of this tokenizer's ``dtype``, (L,).

        Raises:
            DataError: On a character outside the alphabet, naming record and position.
        """
        if isinstance(sequence, str):
            sequence = ascii_letters(sequence, record=record)
        canonical = self.canonical(sequence, molecule.modality, record=record)
        return self._encode_canonical(canonical, molecule.modality)

    def encode(self, sequence: str, molecule: Molecule, *, record: str = "sequence") -> Encoding:
        """Encode a sequence as bare ids with the residue span of each.

        Args:
            sequence: Letters in any case.
            molecule: Molecule type.
            record: Record id for the error message.

        Raises:
            DataError: On a character outside the alphabet, naming record and position.
        """
        canonical = self.canonical(
            ascii_letters(sequence, record=record), molecule.modality, record=record
        )
        ids = self._encode_canonical(canonical, molecule.modality)
        ends = np.cumsum(self._residues_per_token(ids, molecule.modality))
        covered = int(ends[-1]) if len(ends) else 0
        assert covered == len(canonical), f"{covered} residues in spans of {len(canonical)}"
        starts = np.concatenate([[0], ends[:-1]]) if len(ends) else ends
        return Encoding(ids=ids, spans=np.stack([starts, ends], axis=1).astype(np.int64))

    def decode(self, ids: Iterable[int], molecule: Molecule) -> str:
        """Spell bare ids as a canonical sequence; special ids stand for no letter.

        Args:
            ids: Token ids.
            molecule: Molecule type, which decides how an unknown token is written (N or X).

        Raises:
            DataError: On an id outside the vocabulary.
        """
        values = [int(i) for i in ids]
        for value in values:
            if not 0 <= value < self.vocab_size:
                raise DataError(f"token id {value} is outside the {self.vocab_size} known ids")
        return self._letters(values, molecule.modality)

    @property
    def fingerprint(self) -> str:
        """SHA-256 over all that decides an id."""
        text = json.dumps(self._description(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def save(self, folder: Path) -> None:
        """Write the tokenizer as a folder.

        Args:
            folder: Where to write; made if it is not there.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._save_models(folder)
        content = self._description() | {"fingerprint": self.fingerprint}
        (folder / TOKENIZER_FILE).write_text(json.dumps(content, indent=2) + "\n")

    @abstractmethod
    def _save_models(self, folder: Path) -> None:
        """Copy the files the description names beside it."""


class CharacterTokenizer(Tokenizer):
    """One id per residue: the 49 published ids.

    Args:
        ambiguity: ``canonical`` reads ambiguity codes as N and X; ``released`` gives them the
            unknown id, as the released character models were trained.

    Source: paper, Methods (character-level models); ids of the released vocabulary.
    """

    kind = "character"
    vocab_size = 49
    unk_id, pad_id, mask_id = 0, 1, 2
    _EOS: Final = 3

    def __init__(self, ambiguity: AmbiguityMode = "canonical") -> None:
        self.ambiguity = ambiguity
        names = ["<unk>", "<pad>", "<mask>", "<EOS>", *NUCLEOTIDES]
        self._tag_ids = {molecule: len(names) + i for i, molecule in enumerate(NUCLEIC_MOLECULES)}
        names += [molecule.tag for molecule in NUCLEIC_MOLECULES]
        first_residue = len(names)
        names += [*RESIDUES, Molecule.PROTEIN.tag]
        self._tag_ids[Molecule.PROTEIN] = len(names) - 1
        assert len(names) == self.vocab_size, "the published vocabulary has 49 ids"
        self._names = names
        self._tables = {modality: np.zeros(256, np.uint16) for modality in Modality}
        for i, letter in enumerate(NUCLEOTIDES):
            self._tables[Modality.NUCLEIC][ord(letter)] = 4 + i
        for i, letter in enumerate(RESIDUES):
            self._tables[Modality.PROTEIN][ord(letter)] = first_residue + i

    def tag_id(self, molecule: Molecule) -> int:
        return self._tag_ids[molecule]

    def eos_id(self, modality: Modality) -> int:
        return self._EOS

    @property
    def special_ids(self) -> npt.NDArray[np.int64]:
        return np.sort([self.pad_id, self.mask_id, self._EOS, *self._tag_ids.values()])

    def _encode_canonical(self, sequence: bytes, modality: Modality) -> Ids:
        return self._tables[modality][np.frombuffer(sequence, np.uint8)]

    def _residues_per_token(self, ids: Ids, modality: Modality) -> npt.NDArray[np.int64]:
        return np.ones(len(ids), np.int64)

    def _letters(self, ids: Iterable[int], modality: Modality) -> str:
        unknown = "N" if modality is Modality.NUCLEIC else "X"
        special = set(self.special_ids.tolist())
        return "".join(
            unknown if i == self.unk_id else self._names[i] for i in ids if i not in special
        )

    def _description(self) -> dict[str, Any]:
        return {
            "format_version": FORMAT_VERSION,
            "kind": self.kind,
            "ambiguity": self.ambiguity,
            "vocab_size": self.vocab_size,
            "ids": self._names,
        }

    def _save_models(self, folder: Path) -> None:
        """Every id is in the description: there is no file to copy."""


class _PieceModel:
    """One SentencePiece model at its place in the id range."""

    def __init__(self, path: Path, offset: int) -> None:
        if not path.is_file():
            raise DataError(
                "no SentencePiece model there", where=str(path), mend="give the path of a .model"
            )
        self.path = path
        self.offset = offset
        content = path.read_bytes()
        self.sha256 = hashlib.sha256(content).hexdigest()
        try:
            self.processor = sentencepiece.SentencePieceProcessor(model_proto=content)
        except RuntimeError as error:
            raise DataError(
                "not a SentencePiece model", where=str(path), mend="give the path of a .model"
            ) from error
        self.size = int(self.processor.vocab_size())
        self.pieces = [str(self.processor.id_to_piece(i)) for i in range(self.size)]
        self.unknown = int(self.processor.unk_id())
        self.special: dict[str, int] = {
            piece: i
            for i, piece in enumerate(self.pieces)
            if i == self.unknown
            or self.processor.is_control(i)
            or (piece.startswith("<") and piece.endswith(">") and len(piece) > 2)
        }
        self.lengths = np.array(
            [
                0 if i in self.special.values() else len(piece.replace(_DUMMY_PREFIX, ""))
                for i, piece in enumerate(self.pieces)
            ],
            np.int64,
        )
        self.lengths[self.unknown] = 1  # one unknown token per unknown letter, see encode
        self.dropped = np.array(
            [i for i, piece in enumerate(self.pieces) if piece == _DUMMY_PREFIX], np.int64
        )
        known = {piece for piece in self.pieces if len(piece) == 1 and piece != _DUMMY_PREFIX}
        self._unknown_letters = re.compile(f"([^{re.escape(''.join(sorted(known)))}])")

    def encode(self, sequence: str) -> list[int]:
        """Encode letters; each unknown letter is a token of its own, so none loses its place."""
        ids: list[int] = []
        if self._unknown_letters.search(sequence) is None:
            ids = self.processor.encode(sequence)
        else:
            # SentencePiece merges a run of unknown letters into one piece without saying how long.
            for i, part in enumerate(self._unknown_letters.split(sequence)):
                if i % 2:
                    ids.append(self.unknown)
                elif part:
                    ids.extend(self.processor.encode(part))
        return ids

    def first(self, names: Iterable[str]) -> int | None:
        """Global id of the first of these special pieces that the model has."""
        for name in names:
            if name in self.special:
                return self.special[name] + self.offset
        return None


class BPETokenizer(Tokenizer):
    """SentencePiece byte-pair encoding over one mixed model, or one model per modality.

    Ids of the protein model follow those of the nucleic model. Special ids are found by piece
    name; a padding or mask token that no model has gains an id after the last. SentencePiece's
    dummy prefix (a lone U+2581) is dropped wherever it appears. Sequences are encoded in pieces
    of 65,536 characters.

    Args:
        nucleic: SentencePiece model for nucleic acids, or for both modalities.
        protein: SentencePiece model for proteins; without it ``nucleic`` reads both.
        ambiguity: ``canonical`` reads ambiguity codes as N and X before encoding; ``released``
            leaves them to the model.

    Raises:
        DataError: If a file is missing, is no SentencePiece model, or lacks a type tag or the
            end-of-sequence piece.

    Source: paper, Methods (tokenisation).
    """

    kind = "bpe"

    def __init__(
        self, nucleic: Path, protein: Path | None = None, *, ambiguity: AmbiguityMode = "canonical"
    ) -> None:
        self.ambiguity = ambiguity
        first = _PieceModel(Path(nucleic), 0)
        second = _PieceModel(Path(protein), first.size) if protein is not None else first
        self._models = {Modality.NUCLEIC: first, Modality.PROTEIN: second}
        self._distinct = [first] if second is first else [first, second]
        self.vocab_size = sum(model.size for model in self._distinct)
        self.unk_id = first.unknown
        self.pad_id = self._found_or_added(["<pad>", "[PAD]"])
        self.mask_id = self._found_or_added(["<mask>", "[MASK]"])
        self._eos_ids = {m: self._required(m, ["<EOS>", "<eos>", "</s>"]) for m in Modality}
        self._tag_ids = {m: self._required(m.modality, [m.tag]) for m in MOLECULES}
        special = {self.pad_id, self.mask_id}
        for model in self._distinct:
            special |= {i + model.offset for i in model.special.values() if i != model.unknown}
        self._special_ids = np.array(sorted(special), np.int64)

    def _found_or_added(self, names: list[str]) -> int:
        for model in self._distinct:
            found = model.first(names)
            if found is not None:
                return found
        self.vocab_size += 1
        return self.vocab_size - 1

    def _required(self, modality: Modality, names: list[str]) -> int:
        model = self._models[modality]
        found = model.first(names)
        if found is None:
            raise DataError(
                f"the model has no piece {' or '.join(names)}",
                where=str(model.path),
                mend="train it with the type tags and <EOS> as declared symbols",
            )
        return found

    def tag_id(self, molecule: Molecule) -> int:
        return self._tag_ids[molecule]

    def eos_id(self, modality: Modality) -> int:
        return self._eos_ids[modality]

    @property
    def special_ids(self) -> npt.NDArray[np.int64]:
        return self._special_ids

    def _encode_canonical(self, sequence: bytes, modality: Modality) -> Ids:
        model = self._models[modality]
        text = sequence.decode("ascii")
        ids: list[int] = []
        for start in range(0, len(text), BPE_PIECE_CHARACTERS):
            ids.extend(model.encode(text[start : start + BPE_PIECE_CHARACTERS]))
        local = np.array(ids, np.int64)
        if len(model.dropped):
            local = local[~np.isin(local, model.dropped)]
        return (local + model.offset).astype(self.dtype)

    def _residues_per_token(self, ids: Ids, modality: Modality) -> npt.NDArray[np.int64]:
        model = self._models[modality]
        lengths: npt.NDArray[np.int64] = model.lengths[ids.astype(np.int64) - model.offset]
        return lengths

    def _letters(self, ids: Iterable[int], modality: Modality) -> str:
        unknown = "N" if modality is Modality.NUCLEIC else "X"
        special = set(self._special_ids.tolist())
        letters = []
        for i in ids:
            model = self._distinct[-1 if i >= self._distinct[-1].offset else 0]
            if i in special:
                continue
            local = i - model.offset
            letters.append(unknown if local == model.unknown else model.pieces[local])
        return "".join(letters).replace(_DUMMY_PREFIX, "")

    def _description(self) -> dict[str, Any]:
        return {
            "format_version": FORMAT_VERSION,
            "kind": self.kind,
            "ambiguity": self.ambiguity,
            "vocab_size": self.vocab_size,
            "piece_characters": BPE_PIECE_CHARACTERS,
            "models": [
                {
                    "file": _model_file(i, len(self._distinct)),
                    "offset": model.offset,
                    "sha256": model.sha256,
                }
                for i, model in enumerate(self._distinct)
            ],
            "special": {"unk": self.unk_id, "pad": self.pad_id, "mask": self.mask_id}
            | {f"EOS {modality}": i for modality, i in self._eos_ids.items()}
            | {molecule.tag: i for molecule, i in self._tag_ids.items()},
        }

    def _save_models(self, folder: Path) -> None:
        for i, model in enumerate(self._distinct):
            target = folder / _model_file(i, len(self._distinct))
            if not (target.exists() and target.samefile(model.path)):
                shutil.copyfile(model.path, target)


def _model_file(index: int, models: int) -> str:
    """File name of a SentencePiece model inside a tokenizer folder."""
    return "mixed.model" if models == 1 else ("nucleic.model", "protein.model")[index]


def is_tokenizer_folder(folder: Path) -> bool:
    """Whether a folder holds a tokenizer (a corpus and an encoder folder hold one each)."""
    return (folder / TOKENIZER_FILE).is_file()


def load_tokenizer(folder: Path) -> Tokenizer:
    """Load a tokenizer from the folder it was saved in.

    Args:
        folder: Tokenizer, corpus or encoder folder.

    Raises:
        DataError: If the folder holds no tokenizer, one of another format version, or one whose
            ids are not those of its fingerprint.
    """
    path = folder / TOKENIZER_FILE
    if not path.is_file():
        raise DataError(
            f"no {TOKENIZER_FILE} there",
            where=str(folder),
            mend="give a tokenizer, corpus or encoder folder, or the name 'character'",
        )
    try:
        content = json.loads(path.read_text())
    except ValueError as error:
        raise DataError(
            "not valid JSON", where=str(path), mend="copy the tokenizer folder anew"
        ) from error
    tokenizer = _from_description(content, folder)
    if tokenizer.fingerprint != content.get("fingerprint"):
        raise DataError(
            "the fingerprint does not fit the ids: the folder was changed after it was saved",
            where=str(path),
            mend="copy the tokenizer folder anew",
        )
    return tokenizer


def _from_description(content: Mapping[str, Any], folder: Path) -> Tokenizer:
    where = str(folder / TOKENIZER_FILE)
    if content.get("format_version") != FORMAT_VERSION:
        raise DataError(
            f"format version {content.get('format_version')!r}, this biote reads {FORMAT_VERSION}",
            where=where,
            mend="install the biote version that wrote it",
        )
    ambiguity = content.get("ambiguity")
    if ambiguity not in ("canonical", "released"):
        raise DataError(f"unknown ambiguity mode {ambiguity!r}", where=where)
    if content.get("kind") == CharacterTokenizer.kind:
        return CharacterTokenizer(ambiguity)
    if content.get("kind") == BPETokenizer.kind:
        files = [folder / model["file"] for model in content["models"]]
        return BPETokenizer(*files, ambiguity=ambiguity)
    raise DataError(
        f"unknown tokenizer kind {content.get('kind')!r}",
        where=where,
        mend="known kinds: character, bpe",
    )


def resolve_tokenizer(name: str) -> Tokenizer:
    """Find the tokenizer a user names.

    Args:
        name: ``character``; a tokenizer, corpus or encoder folder; one SentencePiece ``.model``
            for both modalities; or ``nucleic.model,protein.model``.

    Raises:
        DataError: If nothing of that name can be read.
    """
    if name == CharacterTokenizer.kind:
        return CharacterTokenizer()
    if name.endswith(".model"):
        files = [Path(part) for part in name.split(",")]
        if len(files) > 2:
            raise DataError(
                f"{len(files)} SentencePiece models, at most two can be used",
                where=name,
                mend="give one for both modalities, or nucleic,protein",
            )
        return BPETokenizer(*files)
    return load_tokenizer(Path(name))
