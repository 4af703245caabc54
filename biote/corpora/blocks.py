"""A file as blocks of bytes, decompressed on the way if it is gzip."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from isal import isal_zlib

from biote.errors import DataError

BLOCK_BYTES: Final = 1 << 20
GZIP_MAGIC: Final = b"\x1f\x8b"
_GZIP_FORMAT: Final = 31  # zlib's number for a gzip header with a 32 kB window
_FEED_BYTES: Final = 1 << 14  # where it finds damage, the decompressor drops what this gave

OnBlock = Callable[[bytes], None]
"""Called with every block of a file as it lies on disk, in order."""


class DamagedInputError(DataError):
    """A compressed file that ends too early or cannot be decompressed further."""


def read_blocks(path: Path, *, on_block: OnBlock | None = None) -> Iterator[bytes]:
    """Yield the content of a file in blocks; gzip is known by its first two bytes.

    Args:
        path: Plain or gzip-compressed file, of one gzip member or several.
        on_block: Told every block of the file before it is decompressed, to count or to hash.

    Raises:
        DamagedInputError: If the compressed data are cut off, after all there is was yielded, or
            damaged, after all but the last kilobytes before the damage was.
    """
    raw = _raw_blocks(path, on_block)
    first = next(raw, b"")
    if first.startswith(GZIP_MAGIC):
        yield from _inflate(first, raw, str(path))
    elif first:
        yield first
        yield from raw


def _raw_blocks(path: Path, on_block: OnBlock | None) -> Iterator[bytes]:
    with path.open("rb", buffering=0) as stream:
        while block := stream.read(BLOCK_BYTES):
            if on_block is not None:
                on_block(block)
            yield block


def _inflate(first: bytes, rest: Iterator[bytes], where: str) -> Iterator[bytes]:
    """Decompress gzip members end to end, at most one block of output at a time."""
    feed = _slices(first, rest)
    data: bytes | memoryview = b""
    member = isal_zlib.decompressobj(wbits=_GZIP_FORMAT)
    fed = False
    while True:
        if not data and not (data := next(feed, b"")):
            if fed:
                raise DamagedInputError("truncated gzip", where=where, mend="fetch the file anew")
            return
        if not fed and not (data := bytes(data).lstrip(b"\0")):
            continue  # members may be padded with zeros, as tape archives are
        fed = True
        pending = True
        while pending:
            try:
                block = member.decompress(data, BLOCK_BYTES)
            except isal_zlib.error as error:  # type: ignore[misc]  # its stub is an instance
                raise DamagedInputError(
                    "damaged gzip, any record of the file may be wrong",
                    where=where,
                    mend="fetch the file anew",
                ) from error
            data = member.unconsumed_tail
            if block:
                yield block
            # A full block may leave output inside the decompressor though no input is left.
            pending = not member.eof and (bool(data) or len(block) == BLOCK_BYTES)
        if member.eof:
            data = member.unused_data
            member = isal_zlib.decompressobj(wbits=_GZIP_FORMAT)
            fed = False


def _slices(first: bytes, rest: Iterator[bytes]) -> Iterator[memoryview]:
    block: bytes | None = first
    while block is not None:
        view = memoryview(block)
        for start in range(0, len(view), _FEED_BYTES):
            yield view[start : start + _FEED_BYTES]
        block = next(rest, None)
