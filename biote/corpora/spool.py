"""Bytes gathered piece by piece: in memory while they are few, on disk beyond."""

from __future__ import annotations

import io
import mmap
import os
import tempfile
from pathlib import Path
from typing import Final

SPOOL_BYTES: Final = 1 << 26
"""What a spool holds in memory; more lies in a file."""

_WRITE_BYTES: Final = 1 << 20

Letters = bytes | mmap.mmap
"""Bytes in memory, or a read-only map of a file that is already unlinked: its pages are the page
cache's, to be dropped at any time. Only `len` and slices work on both; slices are bytes."""


class Spool:
    """Gathers bytes in bounded memory.

    Args:
        scratch: Folder for what does not fit into memory; None for the system's own.
        named: Whether the file keeps its name, for `finish_text`. Without one it is unlinked
            from the beginning and goes with the process, however that ends.
    """

    def __init__(self, scratch: Path | None = None, *, named: bool = False) -> None:
        self._scratch = scratch
        self._named = named
        self._buffer: io.BytesIO | None = None  # what is not in the file
        self._file: io.FileIO | None = None
        self._path: Path | None = None
        self._bytes = 0

    def __len__(self) -> int:
        return self._bytes

    def append(self, data: bytes) -> None:
        """Add bytes at the end.

        Args:
            data: Any number of bytes.

        Raises:
            OSError: If they do not fit on the disk, or the folder cannot be written to.
        """
        if self._buffer is None:
            self._buffer = io.BytesIO(data)  # shares the bytes: a single piece is never copied
            self._buffer.seek(0, os.SEEK_END)
        else:
            self._buffer.write(data)
        self._bytes += len(data)
        if self._buffer.tell() > (SPOOL_BYTES if self._file is None else _WRITE_BYTES):
            self._write_out()

    def finish(self) -> Letters:
        """End the spool and give its content; a file's space is freed with the last reference.

        Raises:
            OSError: If the content does not fit on the disk.
        """
        try:
            if self._file is None:
                return self._in_memory()
            self._write_out()
            return mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        finally:
            self.discard()

    def finish_text(self) -> bytes | Path:
        """End a named spool and give its content or its file, which is then the caller's.

        Raises:
            OSError: If the content does not fit on the disk.
        """
        try:
            if self._path is None:
                return self._in_memory()
            self._write_out()
            path, self._path = self._path, None
            return path
        finally:
            self.discard()

    def discard(self) -> None:
        """Drop what was gathered and not given away."""
        self._buffer, self._bytes = None, 0
        if self._file is not None:
            self._file.close()
            self._file = None
        if self._path is not None:
            self._path.unlink(missing_ok=True)
            self._path = None

    def _in_memory(self) -> bytes:
        return b"" if self._buffer is None else self._buffer.getvalue()

    def _write_out(self) -> None:
        """Move what is in memory to the file."""
        if self._file is None:
            self._file = self._open()
        assert self._buffer is not None, "a file is opened for a full buffer"
        with self._buffer.getbuffer() as content:
            done = 0
            while done < len(content):
                done += self._file.write(content[done : done + _WRITE_BYTES])
        self._buffer = io.BytesIO()

    def _open(self) -> io.FileIO:
        if not self._named:
            return tempfile.TemporaryFile(buffering=0, dir=self._scratch)
        descriptor, name = tempfile.mkstemp(prefix="biote-", suffix=".spool", dir=self._scratch)
        self._path = Path(name)
        return io.FileIO(descriptor, "r+b")
