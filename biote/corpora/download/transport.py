"""What it takes to fetch files over a protocol, and the errors of doing so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from biote.corpora.download.partial import Partial
from biote.errors import DataError

OnBytes = Callable[[int], None]
"""Told how many bytes of a file are there, which can fall when a file starts anew."""

BLOCK_BYTES: Final = 1 << 16  # what a broken connection loses at most
_DIGITS: Final = 18


class Interrupted(Exception):
    """A transfer that broke off and may go well when it is tried again.

    Args:
        reason: What happened.
        wait_s: How long the server asks to be left alone.
    """

    def __init__(self, reason: str, *, wait_s: float = 0.0) -> None:
        self.wait_s = wait_s
        super().__init__(reason)


class NotThere(DataError):
    """The server answers, and has no such file or folder."""

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(
            f"not on the server ({reason})",
            where=address,
            mend="the source may have moved: look in a browser, or give a mirror with --address",
        )


class Corrupt(ValueError):
    """A finished file that is not what its source says it is."""


@dataclass(frozen=True)
class Listed:
    """A file in the listing of a folder."""

    name: str
    bytes: int | None
    """Size; null if the listing does not say."""
    exact: bool
    """Whether the size is to the byte."""


class Transport(Protocol):
    """Reads files and folders over one protocol.

    All raise `Interrupted` for what may go well when tried again, and `DataError` otherwise.
    """

    def size(self, address: str) -> int | None:
        """Size of a file in bytes; null if the server does not say."""

    def read(self, address: str) -> bytes:
        """Content of a small file."""

    def listing(self, address: str) -> list[Listed]:
        """Files in a folder."""

    def fetch(self, address: str, partial: Partial, *, blind: bool, on_bytes: OnBytes) -> None:
        """Bring the rest of a file.

        Args:
            address: Address of the file.
            partial: What is there of it; appended to, or started anew if the file has changed.
            blind: Whether to go on without a validator, because a checksum tells afterwards.
            on_bytes: Told how many bytes are there.
        """


def whole_number(text: str) -> int | None:
    """Read a number of bytes as a server states it.

    Args:
        text: What it states.

    Returns:
        The number; null for anything that is none, or larger than any file.
    """
    return int(text) if text.isdecimal() and len(text) <= _DIGITS else None


def check_whole(partial: Partial, total: int | None) -> None:
    """Check the bytes that came against what the server announced.

    Args:
        partial: What came.
        total: Announced size; null if there was none.

    Raises:
        Interrupted: If they differ.
    """
    size = partial.size()
    if total is None or size == total:
        return
    if size > total:
        partial.discard()
        raise Interrupted(f"{size:,} bytes came, the server announced {total:,}")
    raise Interrupted(f"connection closed at byte {size:,} of {total:,}")
