"""A file that is hashed while it is written."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import pyarrow as pa

_THREAD_BYTES: Final = 1 << 16  # less is hashed sooner than handed to a thread


class HashingSink:
    """What Arrow writes, written to a file and hashed at the same time on a thread.

    Args:
        path: File to write.
    """

    closed = False  # Arrow asks

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb", buffering=0)
        self._sha256 = hashlib.sha256()
        self._thread = ThreadPoolExecutor(1)
        self.bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._thread.shutdown()
        self._file.close()

    @property
    def sha256(self) -> str:
        """Of all that was written, in hexadecimal."""
        return self._sha256.hexdigest()

    def write(self, data: bytes | pa.Buffer) -> int:
        """Write all of a piece.

        Args:
            data: The piece.
        """
        view = memoryview(data)
        size = len(view)
        if size < _THREAD_BYTES:
            self._sha256.update(view)
            self._write_all(view)
        else:
            hashing = self._thread.submit(self._sha256.update, view)
            self._write_all(view)
            hashing.result()
        self.bytes += size
        return size

    def _write_all(self, view: memoryview) -> None:
        while view:
            view = view[self._file.write(view) :]

    def tell(self) -> int:
        """Bytes written."""
        return self.bytes

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """Arrow is done; the file is closed by the context."""

    def readable(self) -> bool:
        """No."""
        return False

    def writable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """No."""
        return False
