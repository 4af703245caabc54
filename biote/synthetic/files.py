"""Text files, plain or gzip, the same bytes every time they are written."""

from __future__ import annotations

import gzip
from pathlib import Path


def write_ascii(path: Path, text: str) -> None:
    """Write a text file, compressed where its name ends in ``.gz``.

    Args:
        path: File to write; its folder is made if it is not there.
        text: Its content, ASCII.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    content = text.encode("ascii")
    # A time stamp in the gzip header would make equal content differ.
    path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
