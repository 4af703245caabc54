"""One SentencePiece model of one modality.

Ids: 0 unknown, 1 padding, 2 mask, 3 end of sequence, then the type tags of the modality, the
merged pieces, and every canonical letter at the end. So a canonical sequence of any content can be
written with the model, and read back exactly.

What SentencePiece does of itself and is kept from doing here: it skips texts longer than
``max_sentence_length`` bytes without an error (the pieces are shorter); it puts a blank before
every text, folds Unicode, and breaks texts where they change script or at digits; and
``required_chars`` leaves out letters that are not in the sample, so every letter is added to the
sample as a text of its own, which changes no count of pairs. Its BPE trainer numbers texts with
32 bits and the letters in one with 16. Neither ``train_extremely_large_corpus`` nor the number of
threads changes what it learns; one thread is fixed because the number is written in the model.

Source: paper, Methods (tokenisation); longest piece as in the released models.
"""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import sentencepiece

from biote.corpora.bpe_training.pieces import PIECE_CHARACTERS
from biote.errors import ConfigError, DataError
from biote.molecules import MOLECULES, NUCLEOTIDES, RESIDUES, Modality

_LONGEST_PIECE: Final = 32
_LETTERS: Final = {Modality.NUCLEIC: NUCLEOTIDES, Modality.PROTEIN: RESIDUES}
_UNKNOWN_ID: Final = 0
_PAD_ID: Final = 1


def model_options(modality: Modality, pieces: int) -> dict[str, Any]:
    """All that SentencePiece is told, beside the sample.

    Args:
        modality: Alphabet of the sample.
        pieces: Ids of the model, declared ones included.
    """
    return {
        "model_type": "bpe",
        "vocab_size": pieces,
        "hard_vocab_limit": True,
        "character_coverage": 1.0,
        "byte_fallback": False,
        "max_sentence_length": PIECE_CHARACTERS,
        "max_sentencepiece_length": _LONGEST_PIECE,
        "normalization_rule_name": "identity",
        "add_dummy_prefix": False,
        "remove_extra_whitespaces": False,
        "split_by_unicode_script": False,
        "split_by_number": False,
        "split_by_whitespace": False,
        "unk_id": _UNKNOWN_ID,
        "pad_id": _PAD_ID,
        "bos_id": -1,
        "eos_id": -1,
        "control_symbols": ["<mask>"],
        "user_defined_symbols": ["<EOS>", *(m.tag for m in MOLECULES if m.modality is modality)],
        "num_threads": 1,
    }


def check_pieces(modality: Modality, pieces: int) -> None:
    """Refuse a number of pieces that leaves none to learn.

    Args:
        modality: Alphabet of the model.
        pieces: Ids of the model.

    Raises:
        ConfigError: If the declared symbols and the letters alone are as many.
    """
    options = model_options(modality, pieces)
    symbols = 2 + len(options["control_symbols"]) + len(options["user_defined_symbols"])
    smallest = symbols + len(_LETTERS[modality]) + 1
    if pieces < smallest:
        raise ConfigError(
            f"{pieces} pieces do not hold the {symbols} declared symbols and "
            f"{len(_LETTERS[modality])} letters of a {modality} model",
            where="--pieces",
            mend=f"give at least {smallest}",
        )


def train_model(sample: Sequence[bytes], modality: Modality, *, pieces: int) -> bytes:
    """Train a model.

    Args:
        sample: Pieces of canonical sequence, each at most 4,000 letters.
        modality: Alphabet of the sample.
        pieces: Ids of the model, declared ones included.

    Returns:
        The serialised model; the same bytes for the same sample in the same order.

    Raises:
        DataError: If the sample holds too little to learn so many pieces from.
    """
    assert all(len(text) <= PIECE_CHARACTERS for text in sample), "longer ones would be skipped"
    letters = (letter.encode() for letter in _LETTERS[modality])
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=itertools.chain(letters, sample),
            model_writer=model,
            minloglevel=2,  # errors alone
            **model_options(modality, pieces),
        )
    except RuntimeError as error:
        characters = sum(map(len, sample))
        found = re.search(r"Vocabulary size too high .*<= (\d+)", str(error))
        if found is None:
            raise DataError(
                f"SentencePiece cannot train on {characters:,} {modality} characters: {error}",
                mend="give more sequences",
            ) from error
        raise DataError(
            f"{characters:,} {modality} characters give at most {int(found[1]):,} pieces, "
            f"not {pieces:,}",
            mend=f"give more sequences or characters, or --pieces {found[1]}",
        ) from error
    return model.getvalue()


@dataclass(frozen=True, kw_only=True)
class Compression:
    """How a model writes sequences it was not trained on."""

    characters: int
    tokens: int
    unknown_tokens: int

    @property
    def characters_per_token(self) -> float:
        """Letters a token stands for, in the mean."""
        return self.characters / self.tokens


def measure(model: bytes, held_out: Sequence[bytes]) -> Compression:
    """Encode sequences, and check that they can be read back.

    Args:
        model: Serialised model.
        held_out: Canonical sequences, at least one letter in all.

    Raises:
        DataError: If a sequence does not come back as it was.
    """
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    tokens = unknown = 0
    for text in held_out:
        letters = text.decode("ascii")
        ids: list[int] = processor.encode(letters)
        tokens += len(ids)
        unknown += ids.count(_UNKNOWN_ID)
        if processor.decode(ids) != letters:
            raise DataError(
                "a held-out sequence does not come back as it was",
                where=f"{letters[:60]}...",
                mend="use another version of sentencepiece",
            )
    return Compression(characters=sum(map(len, held_out)), tokens=tokens, unknown_tokens=unknown)
