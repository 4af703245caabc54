"""The folder of a corpus while it is being made: who may write, and what is removed."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from biote.atomic import PARTIAL_SUFFIX
from biote.corpora.locking import exclusive
from biote.corpora.manifest import CORPUS_FILE, LEDGER_FILE
from biote.corpora.parts import PROGRESS_FOLDER, SCRATCH_FOLDER
from biote.corpora.windows import WINDOW_FOLDER
from biote.corpora.writer import SHARD_FOLDER
from biote.errors import DataError
from biote.tokenization import is_tokenizer_folder
from biote.tokenization.base import TOKENIZER_FILE

_LOCK_FILE: Final = ".prepare.lock"


@contextmanager
def locked(output: Path) -> Iterator[None]:
    """Keep other preparations out of a corpus folder, made if it is not there.

    The lock goes with the process that holds it, however that ends.

    Args:
        output: Corpus folder.

    Raises:
        DataError: If another process writes to it, or the folder is that of a tokenizer or an
            encoder, or holds anything else that is no corpus.
    """
    if is_tokenizer_folder(output) and not (output / SHARD_FOLDER).is_dir():
        raise DataError(
            "holds a tokenizer or an encoder, which a corpus would overwrite",
            where=str(output),
            mend="name another output",
        )
    if not (output / SHARD_FOLDER).is_dir() and not (output / CORPUS_FILE).is_file():
        other = sorted(path.name for path in output.iterdir()) if output.is_dir() else []
        if other:
            raise DataError(
                f"holds something else than a corpus: {other[0]}",
                where=str(output),
                mend="name another output",
            )
    # Marks the folder as that of a corpus from here on.
    (output / SHARD_FOLDER).mkdir(parents=True, exist_ok=True)
    with exclusive(output / _LOCK_FILE, busy="prepares it"):
        yield


def clear(output: Path) -> None:
    """Remove a corpus, or what is left of one; nothing else in the folder.

    Args:
        output: Corpus folder.
    """
    # First, so that what is left after an interruption is no corpus.
    (output / CORPUS_FILE).unlink(missing_ok=True)
    for pattern in (
        LEDGER_FILE,
        f"{SHARD_FOLDER}/[0-9]*-[0-9]*.arrow",
        f"{WINDOW_FOLDER}/[0-9]*-*-*.u64",
    ):
        for path in output.glob(pattern):
            path.unlink()
    remove_partials(output)
    shutil.rmtree(output / PROGRESS_FOLDER, ignore_errors=True)


def remove_partials(output: Path) -> None:
    """Remove what a killed process was writing.

    Args:
        output: Corpus folder.
    """
    for folder in (output / SHARD_FOLDER, output / WINDOW_FOLDER, output / PROGRESS_FOLDER):
        for path in folder.glob(f"*{PARTIAL_SUFFIX}"):
            path.unlink()
    for name in (CORPUS_FILE, LEDGER_FILE, TOKENIZER_FILE, "*.model"):
        for path in output.glob(f"{name}.*{PARTIAL_SUFFIX}"):
            path.unlink()
    shutil.rmtree(output / SCRATCH_FOLDER, ignore_errors=True)


def remove_leftovers(output: Path, shards: Iterable[str]) -> None:
    """Remove all that a finished corpus has no use for.

    Args:
        output: Corpus folder.
        shards: The shards of the corpus, as ``corpus.json`` names them.
    """
    wanted = {output / shard for shard in shards}
    for path in (output / SHARD_FOLDER).glob("[0-9]*-[0-9]*.arrow"):
        if path not in wanted:
            path.unlink()
    remove_partials(output)
    shutil.rmtree(output / PROGRESS_FOLDER, ignore_errors=True)
