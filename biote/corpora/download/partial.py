"""A download that is not whole yet: its bytes and what the server said about the file."""

from __future__ import annotations

import errno
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from io import BufferedWriter
from pathlib import Path
from typing import Final

from biote.atomic import write_text_atomic
from biote.errors import DataError

logger = logging.getLogger(__name__)

# Neither ends in an extension that the corpus readers know.
PART_SUFFIX: Final = ".part"
STATE_SUFFIX: Final = ".part.json"
_NO_LINKS: Final = frozenset(
    {errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
)


@dataclass(frozen=True)
class Begun:
    """What the server said when the download began."""

    address: str
    validator: str | None
    """Changes when the file does; null if the server gives none."""
    bytes: int | None
    """Size of the whole file; null if the server does not say."""


class Partial:
    """The unfinished file beside the place of the finished one.

    Args:
        target: Where the finished file shall stand.
        address: Where it comes from: bytes from elsewhere are never continued.
    """

    def __init__(self, target: Path, address: str) -> None:
        self.path = target.with_name(target.name + PART_SUFFIX)
        self._state = target.with_name(target.name + STATE_SUFFIX)
        self._address = address

    def size(self) -> int:
        """Bytes that are there."""
        return self.path.stat().st_size if self.path.exists() else 0

    def begun(self) -> Begun | None:
        """What is known of the bytes that are there; null if there are none to continue."""
        if not self.size():
            return None
        try:
            state = Begun(**json.loads(self._state.read_text()))
            if not (isinstance(state.bytes, int | None) and _can_be_sent(state.validator)):
                raise TypeError("not what was written")
        except (OSError, ValueError, TypeError, RecursionError):
            logger.info("%s: nothing is known of this part, it starts anew", self.path)
            return None
        return state if state.address == self._address else None

    def goes_on(self, *, blind: bool) -> bool:
        """Whether the next request will go on after the bytes that are there.

        Args:
            blind: Whether it would without a validator.
        """
        begun = self.begun()
        return begun is not None and (blind or begun.validator is not None)

    def start(self, validator: str | None, total: int | None) -> None:
        """Drop what is there and note what the server says about the file.

        Args:
            validator: Changes when the file does; not kept if no header can hold it.
            total: Size of the whole file.
        """
        self.discard()
        begun = Begun(self._address, validator if _can_be_sent(validator) else None, total)
        with disk_errors(self._state):
            write_text_atomic(self._state, json.dumps(asdict(begun)))

    @contextmanager
    def writing(self) -> Iterator[PartialWriter]:
        """Open the part to append to it."""
        with disk_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            stream = self.path.open("ab")
        writer = PartialWriter(stream, self.path)
        try:
            yield writer
        except BaseException:
            writer.abandon()
            raise
        writer.close()

    def hand_over(self, place: Path) -> None:
        """Make the finished bytes appear in another place of the same folder.

        The part keeps its name where the file system has links, so that a stop while the bytes
        are being checked does not lose them; `discard` drops the name.

        Args:
            place: Where they shall appear; what is there is replaced.
        """
        with disk_errors(place):
            with self.path.open("rb+") as stream:
                os.fsync(stream.fileno())
            place.unlink(missing_ok=True)
            try:
                os.link(self.path, place)
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                self.path.replace(place)

    def drop_other_names(self) -> None:
        """Remove names that a run stopped during its check has left for these bytes."""
        with disk_errors(self.path):
            if not self.path.exists() or self.path.stat().st_nlink == 1:
                return
            for other in self.path.parent.iterdir():
                if other != self.path and other.is_file() and other.samefile(self.path):
                    other.unlink()

    def discard(self) -> None:
        """Drop the part and what is known of it."""
        with disk_errors(self.path):
            self.path.unlink(missing_ok=True)
            self._state.unlink(missing_ok=True)


class PartialWriter:
    """Appends to a part; what the disk refuses is one line.

    Args:
        stream: The part, open.
        path: Its path.
    """

    def __init__(self, stream: BufferedWriter, path: Path) -> None:
        self._stream = stream
        self._path = path
        self.position = stream.tell()

    def write(self, block: bytes) -> None:
        """Append bytes.

        Args:
            block: The bytes.

        Raises:
            DataError: If the disk does not take them.
        """
        with disk_errors(self._path):
            self._stream.write(block)
        self.position += len(block)

    def close(self) -> None:
        """Write out what is buffered and close."""
        with disk_errors(self._path):
            self._stream.close()

    def abandon(self) -> None:
        """Close after an error, which a second one from the same disk must not replace."""
        try:
            self._stream.close()
        except OSError as error:
            logger.debug("%s: %s", self._path, error)


def _can_be_sent(validator: object) -> bool:
    """Whether a validator is null or text that fits into the header of a request."""
    if validator is None:
        return True
    return isinstance(validator, str) and validator.isascii() and validator.isprintable()


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn what the file system refuses into one line.

    Args:
        path: File that is worked on.

    Raises:
        DataError: On any error of the file system.
    """
    try:
        yield
    except OSError as error:
        mend = "check the folder of --output"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            mend = "make room and run the same command again"
        reason = error.strerror or str(error)
        raise DataError(
            f"cannot be read or written: {reason}", where=str(path), mend=mend
        ) from error
