"""Tokenizers from the folders they were saved in, and by the names users give them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from biote.errors import DataError
from biote.tokenization.base import FORMAT_VERSION, TOKENIZER_FILE, Tokenizer
from biote.tokenization.bpe import BPETokenizer
from biote.tokenization.character import CharacterTokenizer


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
