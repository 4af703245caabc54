"""A hidden folder beside an output, in which the output is built before it takes its place."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from biote.atomic import PARTIAL_SUFFIX
from biote.corpora.locking import exclusive


@contextmanager
def workspace(output: Path, *, command: str) -> Iterator[Path]:
    """Give an empty folder beside ``output``, on the same disk, that is gone afterwards.

    One process at a time holds the workspace of an output, and the lock goes with the process.
    So what a process that was killed left in it belongs to nobody, and is cleared.

    Args:
        output: What is built; its folder is made if it is not there.
        command: Word in the name of the workspace, so that two commands never share one.

    Raises:
        DataError: If another process builds the same output.
        OSError: If the folder cannot be written to.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    folder = output.with_name(f".{output.name}.{command}{PARTIAL_SUFFIX}")
    lock = output.with_name(f".{output.name}.{command}.lock")
    with exclusive(lock, busy=f"writes {output.name}"):
        try:
            if folder.exists():
                shutil.rmtree(folder)
            folder.mkdir()
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
