"""A file that one process at a time holds, whatever becomes of the process."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from biote.errors import DataError


@contextmanager
def exclusive(path: Path, *, busy: str) -> Iterator[None]:
    """Hold a lock file, which is removed afterwards; the lock goes with the process.

    Args:
        path: The lock file; its folder exists.
        busy: What another process that holds it is doing, to be told.

    Raises:
        DataError: If another process holds it.
    """
    handle = _lock(path)
    if handle is None:
        raise DataError(
            f"another process {busy} now", where=str(path.parent), mend="wait until it is done"
        )
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(handle)


def _lock(path: Path) -> int | None:
    """Open and lock a file; None if another process holds it."""
    while True:
        handle = os.open(path, os.O_CREAT | os.O_RDWR)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and os.fstat(handle).st_ino == path.stat().st_ino:
                return handle
        except BlockingIOError:
            os.close(handle)
            return None
        # Its holder removed the file between the two calls: a newcomer would lock another one.
        os.close(handle)
