"""What tells that a source file is the one that was listed, and what it held."""

from __future__ import annotations

import hashlib
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from biote.corpora.sources import Source
from biote.errors import DataError


class FileDigest:
    """Hashes and counts a file while it is read, on a thread of its own.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._sha256 = hashlib.sha256()
        self._thread = ThreadPoolExecutor(1)  # hashing leaves the interpreter to the reader
        self._hashing: Future[None] | None = None
        self.bytes = 0

    def __call__(self, block: bytes) -> None:
        """Take the next block of the file."""
        if self._hashing is not None:
            self._hashing.result()  # one block at a time, so that none pile up
        self._hashing = self._thread.submit(self._sha256.update, block)
        self.bytes += len(block)

    def finish(self) -> str:
        """Read what was not read, because the reader gave up, and return the SHA-256."""
        with self._path.open("rb") as stream:
            stream.seek(self.bytes)
            while block := stream.read(1 << 20):
                self(block)
        self._thread.shutdown()
        return self._sha256.hexdigest()


def source_identity(source: Source) -> str:
    """Name, size and time of change of a source as listed: what tells one from another cheaply.

    Args:
        source: Input file.
    """
    return f"{source.path} {source.bytes} {source.modified_ns}"


def check_unchanged(source: Source, identity: str) -> None:
    """Refuse a source that is not what it was when it was listed.

    Args:
        source: Input file.
        identity: Its `source_identity` then.

    Raises:
        DataError: If it changed.
    """
    status = source.path.stat()
    if f"{source.path} {status.st_size} {status.st_mtime_ns}" != identity:
        raise DataError(
            "changed while it was read",
            where=str(source.path),
            mend="run again when its download is complete",
        )
