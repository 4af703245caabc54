"""What can be said of a file whose source states no checksum."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from biote.corpora.blocks import GZIP_MAGIC, DamagedInputError, read_blocks
from biote.corpora.download.files import PlannedFile
from biote.corpora.download.transport import Corrupt

_GZIP_NAMES: Final = (".gz", ".tgz")
_PAGE_NAMES: Final = (".html", ".htm")
_PAGE_BEGINNINGS: Final = (b"<!doctype html", b"<html")
_ROUNDED: Final = 2.0
"""A size that a listing rounds, to 1M for example, is off by less than this factor."""


def check_content(path: Path, file: PlannedFile) -> None:
    """Refuse bytes that cannot be the file, as far as they tell.

    Args:
        path: The bytes that came.
        file: What they should be.

    Raises:
        Corrupt: If there are none, they are a web page, their number is far from the one in the
            listing, or they are a gzip file that is damaged or cut off.
    """
    size = path.stat().st_size
    if size == 0:
        raise Corrupt("it is empty")
    with path.open("rb") as stream:
        beginning = stream.read(1024)
    name = file.target.name.lower()
    if not name.endswith(_PAGE_NAMES) and beginning.lstrip().lower().startswith(_PAGE_BEGINNINGS):
        raise Corrupt("a web page came instead")
    if file.bytes and not file.exact and not 1 / _ROUNDED <= size / file.bytes <= _ROUNDED:
        raise Corrupt(f"{size:,} bytes came, the listing states about {file.bytes:,}")
    if name.endswith(_GZIP_NAMES):
        if not beginning.startswith(GZIP_MAGIC):
            raise Corrupt("it is no gzip file")
        try:
            for _ in read_blocks(path):
                pass
        except DamagedInputError as damage:
            raise Corrupt(damage.what) from damage


def count_checks(files: Iterable[PlannedFile]) -> str:
    """Say how files were checked, for example ``3 by MD5, 9 by size and as whole gzip``.

    Args:
        files: Files that are there.
    """
    ways = Counter(_way(file) for file in files)
    return ", ".join(f"{number:,} {way}" for way, number in ways.items())


def _way(file: PlannedFile) -> str:
    if file.checksum is not None:
        return f"by {file.checksum.partition(':')[0].upper()}"
    stated = file.bytes is not None
    if file.target.name.lower().endswith(_GZIP_NAMES):
        return "by size and as whole gzip" if stated else "as whole gzip"
    return "by size" if stated else "as they came, the source states neither size nor checksum"
