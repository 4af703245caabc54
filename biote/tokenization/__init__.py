"""Sequences to token ids and back, with the residues that every token stands for.

A tokenizer is a folder: ``tokenizer.json`` (kind, options, vocabulary size, special ids,
fingerprint) and, for BPE, the SentencePiece models beside it. The fingerprint covers all that
decides an id, so two corpora or weights with one fingerprint can be used together.
"""

from biote.tokenization.base import Encoding, Ids, Tokenizer
from biote.tokenization.bpe import BPE_PIECE_CHARACTERS, BPETokenizer
from biote.tokenization.character import CharacterTokenizer
from biote.tokenization.loading import is_tokenizer_folder, load_tokenizer, resolve_tokenizer

__all__ = [
    "BPE_PIECE_CHARACTERS",
    "BPETokenizer",
    "CharacterTokenizer",
    "Encoding",
    "Ids",
    "Tokenizer",
    "is_tokenizer_folder",
    "load_tokenizer",
    "resolve_tokenizer",
]
