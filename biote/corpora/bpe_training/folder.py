"""The folder of a tokenizer that is being trained: whole, or not there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from biote.atomic import PARTIAL_SUFFIX
from biote.corpora.manifest import LEDGER_FILE
from biote.errors import DataError
from biote.tokenization import is_tokenizer_folder
from biote.tokenization.base import TOKENIZER_FILE

TRAINING_FILE: Final = "training.json"


@contextmanager
def new_tokenizer_folder(output: Path, *, overwrite: bool) -> Iterator[Path]:
    """Give a folder to write to that becomes ``output`` when the block ends well.

    On an error nothing is left of it, and what was there before is still there. A process that is
    killed leaves hidden folders ending in ``.partial`` beside ``output``, and nothing else.

    Args:
        output: Where the tokenizer shall stand.
        overwrite: Whether a tokenizer that is there is replaced.

    Raises:
        DataError: If something else is there, or a tokenizer that is not to be replaced.
    """
    _check(output, overwrite=overwrite)
    output.parent.mkdir(parents=True, exist_ok=True)
    build = output.with_name(f".{output.name}.{os.getpid()}{PARTIAL_SUFFIX}")
    old = output.with_name(f".{output.name}.{os.getpid()}.old{PARTIAL_SUFFIX}")
    try:
        build.mkdir()
        yield build
        if output.exists():
            output.rename(old)
        build.rename(output)
    except BaseException:
        if old.exists() and not output.exists():
            old.rename(output)
        raise
    finally:
        shutil.rmtree(build, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _check(output: Path, *, overwrite: bool) -> None:
    if not output.exists():
        return
    if not output.is_dir():
        raise DataError("is a file", where=str(output), mend="name another output")
    names = {path.name for path in output.iterdir()}
    if not names:
        return
    written = {TOKENIZER_FILE, TRAINING_FILE, LEDGER_FILE}
    other = sorted(name for name in names - written if not name.endswith(".model"))
    if other or not is_tokenizer_folder(output):
        raise DataError(
            f"holds something else than a tokenizer: {(other or sorted(names))[0]}",
            where=str(output),
            mend="name another output",
        )
    if not overwrite:
        raise DataError(
            "holds a tokenizer already",
            where=str(output),
            mend="name another output or --overwrite",
        )
