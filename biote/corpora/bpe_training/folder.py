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
from biote.corpora.workspace import workspace
from biote.errors import DataError
from biote.tokenization import is_tokenizer_folder
from biote.tokenization.base import TOKENIZER_FILE

TRAINING_FILE: Final = "training.json"
_COMMAND: Final = "tokenizer"


@contextmanager
def new_tokenizer_folder(output: Path, *, overwrite: bool) -> Iterator[Path]:
    """Give a folder to write to that becomes ``output`` when the block ends well.

    On an error nothing is left of it, and what was there before is still there. What a process
    leaves that is killed is put right by the next that makes the same output.

    Args:
        output: Where the tokenizer shall stand.
        overwrite: Whether a tokenizer that is there is replaced.

    Raises:
        DataError: If something else is there, a tokenizer that is not to be replaced, or another
            process makes it.
    """
    output = Path(os.path.realpath(output))  # not a link to the folder, nor a name such as "."
    _check(output, overwrite=overwrite)
    old = output.with_name(f".{output.name}.{_COMMAND}.old{PARTIAL_SUFFIX}")
    with workspace(output, command=_COMMAND) as folder:
        _put_right(output, old)
        _check(output, overwrite=overwrite)
        build = folder / "new"
        build.mkdir()
        yield build
        try:
            if output.exists():
                output.rename(old)
            build.rename(output)
        finally:
            _put_right(output, old)


def _put_right(output: Path, old: Path) -> None:
    """Give the output back what it held, unless what takes its place is there."""
    if output.exists():
        shutil.rmtree(old, ignore_errors=True)
    elif old.exists():
        old.rename(output)


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
