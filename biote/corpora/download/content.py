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
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
BY_SIZE: Final = "by size"
_ROUNDED: Final = 2.0
"""A size that a listing rounds, to 1M for example, is off by less than this factor."""


def check_content(path: Path, file: PlannedFile, *, stated_bytes: int | None) -> str:
    """Refuse bytes that cannot be the file, as far as they tell.

    Args:
        path: The bytes that came.
        file: What they should be.
        stated_bytes: Size that the server states; null if it states none.

    Returns:
        What was checked, for example ``by size and as whole gzip``.

    Raises:
        Corrupt: If there are none, they are a web page, their number is not the stated one or far
            from the one in the listing, or they are a gzip file that is damaged or cut off.
    """
    size = path.stat().st_size
    if size == 0:
        raise Corrupt("it is empty")
    with path.open("rb") as stream:
        beginning = stream.read(1024)
    name = file.target.name.lower()
    if not name.endswith(_PAGE_NAMES) and _is_page(beginning):
        raise Corrupt("a web page came instead")
    if stated_bytes is not None and size != stated_bytes:
        raise Corrupt(f"{size:,} bytes came, the server states {stated_bytes:,}")
    if file.bytes and not file.exact and not 1 / _ROUNDED <= size / file.bytes <= _ROUNDED:
        raise Corrupt(f"{size:,} bytes came, the listing states about {file.bytes:,}")
    ways = [] if stated_bytes is None else [BY_SIZE]
    if name.endswith(_GZIP_NAMES):
        if not beginning.startswith(GZIP_MAGIC):
            raise Corrupt("it is no gzip file")
        try:
            for _ in read_blocks(path):
                pass
        except DamagedInputError as damage:
            raise Corrupt(damage.what) from damage
        ways.append("as whole gzip")
    return " and ".join(ways) or "as they came, the source states neither size nor checksum"


def by_checksum(checksum: str) -> str:
    """Say that a file was checked by a checksum, for example ``by MD5``.

    Args:
        checksum: ``algorithm:hexadecimal digest``.
    """
    return f"by {checksum.partition(':')[0].upper()}"


def count_checks(files: Iterable[PlannedFile]) -> str:
    """Say how files were checked, for example ``3 by MD5, 9 by size and as whole gzip``.

    Args:
        files: Files that are there.
    """
    ways = Counter(file.checked for file in files)
    return ", ".join(f"{number:,} {way}" for way, number in ways.items())


def _is_page(beginning: bytes) -> bool:
    text = beginning.removeprefix(_BYTE_ORDER_MARK).lstrip().lower()
    # The mark of a page may follow a declaration or a comment.
    return text.startswith(b"<") and any(mark in text for mark in _PAGE_BEGINNINGS)
