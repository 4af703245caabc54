"""Byte-pair encoding by SentencePiece models."""

from __future__ import annotations

import hashlib
import itertools
import re
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import sentencepiece

from biote.errors import DataError
from biote.molecules import MOLECULES, Modality, Molecule
from biote.tokenization.base import FORMAT_VERSION, AmbiguityMode, Ids, Tokenizer

BPE_PIECE_CHARACTERS: Final = 65_536
"""Long sequences are encoded in pieces of this many characters: SentencePiece's time grows
faster than the length, and a fixed cut makes the ids independent of how a file was read."""

_DUMMY_PREFIX: Final = "\u2581"


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
        self.kept = np.array([piece != _DUMMY_PREFIX for piece in self.pieces])
        """Whether each piece is a token, not the dummy prefix."""
        known = {piece for piece in self.pieces if len(piece) == 1 and piece != _DUMMY_PREFIX}
        self._unknown_letters = re.compile(f"([^{re.escape(''.join(sorted(known)))}])")

    def encode(self, texts: list[str]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Encode letters; each unknown letter is a token of its own, so none loses its place.

        Returns:
            Ids of all texts end to end, and where each text ends, beginning with 0.
        """
        # One thread: processes work in parallel already where there is much to encode.
        encoded: list[list[int]] = self.processor.encode(texts, num_threads=1)
        ids, ends = _end_to_end(encoded)
        if not (ids == self.unknown).any():
            return ids, ends
        for i, text in enumerate(texts):
            if self.unknown in encoded[i]:
                encoded[i] = self._encode_with_unknown(text)
        return _end_to_end(encoded)

    def _encode_with_unknown(self, text: str) -> list[int]:
        # SentencePiece merges a run of unknown letters into one piece without saying how long.
        ids: list[int] = []
        for i, part in enumerate(self._unknown_letters.split(text)):
            if i % 2:
                ids.append(self.unknown)
            elif part:
                ids.extend(self.processor.encode(part))
        return ids

    def declares(self, modality: Modality) -> bool:
        """Whether the model has a type tag of the modality."""
        return any(m.tag in self.special for m in MOLECULES if m.modality is modality)

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

    A single model reads the modalities whose type tags it declares: one that was trained on
    proteins alone declares ``<protein>`` alone, and refuses nucleic acids.

    Args:
        nucleic: SentencePiece model for nucleic acids, or a single model.
        protein: SentencePiece model for proteins; without it ``nucleic`` is the only one.
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
        if second is first:
            self._models = {m: first for m in Modality if first.declares(m)} or self._models
        self.modalities = tuple(self._models)
        self._distinct = [first] if second is first else [first, second]
        self.vocab_size = sum(model.size for model in self._distinct)
        self.unk_id = first.unknown
        self.pad_id = self._found_or_added(["<pad>", "[PAD]"])
        self.mask_id = self._found_or_added(["<mask>", "[MASK]"])
        self._eos_ids = {m: self._required(m, ["<EOS>", "<eos>", "</s>"]) for m in self._models}
        self._tag_ids = {
            m: self._required(m.modality, [m.tag]) for m in MOLECULES if m.modality in self._models
        }
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

    def _model(self, modality: Modality) -> _PieceModel:
        if modality not in self._models:
            raise DataError(
                f"a tokenizer for {' and '.join(self._models)} sequences alone cannot encode "
                f"{modality} ones",
                where=str(self._distinct[0].path),
                mend="leave those sequences out, or use a tokenizer that was trained on both",
            )
        return self._models[modality]

    def tag_id(self, molecule: Molecule) -> int:
        self._model(molecule.modality)
        return self._tag_ids[molecule]

    def eos_id(self, modality: Modality) -> int:
        self._model(modality)
        return self._eos_ids[modality]

    @property
    def special_ids(self) -> npt.NDArray[np.int64]:
        return self._special_ids

    def encode_spelled(
        self, sequences: Sequence[bytes], modality: Modality
    ) -> tuple[Ids, npt.NDArray[np.int64]]:
        model = self._model(modality)
        pieces: list[str] = []
        ends = np.empty(len(sequences) + 1, np.int64)  # in pieces, then in tokens
        ends[0] = 0
        for i, sequence in enumerate(sequences):
            text = sequence.decode("ascii")
            for start in range(0, len(text), BPE_PIECE_CHARACTERS):
                pieces.append(text[start : start + BPE_PIECE_CHARACTERS])
            ends[i + 1] = len(pieces)
        local, piece_ends = model.encode(pieces)
        ends = piece_ends[ends]
        if not model.kept.all():
            kept = model.kept[local]
            ends = np.concatenate([[0], np.cumsum(kept)])[ends]
            local = local[kept]
        return (local + model.offset).astype(self.dtype), np.diff(ends)

    def _residues_per_token(self, ids: Ids, modality: Modality) -> npt.NDArray[np.int64]:
        model = self._model(modality)
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
                    "file": self._model_file(i),
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
            target = folder / self._model_file(i)
            if not (target.exists() and target.samefile(model.path)):
                shutil.copyfile(model.path, target)

    def _model_file(self, index: int) -> str:
        """File name of a SentencePiece model inside a tokenizer folder."""
        mixed = len(self._models) > len(self._distinct)
        return "mixed.model" if mixed else f"{self.modalities[index]}.model"


def _end_to_end(
    lists: list[list[int]],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Lists as one array, and where each ends, beginning with 0."""
    ends = np.cumsum([0, *map(len, lists)], dtype=np.int64)
    return np.fromiter(itertools.chain.from_iterable(lists), np.int64, count=ends[-1]), ends
