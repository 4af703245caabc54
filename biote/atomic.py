"""Files that are whole or not there."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

PARTIAL_SUFFIX: Final = ".partial"


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a path to write to that becomes ``path`` when the block ends well.

    The content is on disk before the name is: a crash leaves the old file or the new one. On an
    error the partial file is removed. Several processes may write the same file at once.

    Args:
        path: Where the file shall stand; its folder is made if it is not there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not the process id, which two machines that share a disk may both have.
    partial = path.with_name(f"{path.name}.{uuid.uuid4().hex[:12]}{PARTIAL_SUFFIX}")
    try:
        yield partial
        with partial.open("rb+") as stream:
            os.fsync(stream.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write_text_atomic(path: Path, text: str) -> None:
    """Write a small text file that is whole or not there.

    Args:
        path: Where the file shall stand.
        text: Its content.
    """
    with atomic_path(path) as partial:
        partial.write_text(text)
