"""How far a download is: over all its files, and as lines of a log."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from biote.corpora.download.files import PlannedFile, Standing
from biote.corpora.download.plan import Plan

logger = logging.getLogger(__name__)


class Tally:
    """Adds up the bytes of a download that are there, file after file.

    Args:
        plans: What is downloaded.
    """

    def __init__(self, plans: Sequence[Plan]) -> None:
        files = [file for plan in plans for file in plan.wanted()]
        self.total = sum(file.bytes or 0 for file in files)
        self._finished = 0
        self._file: PlannedFile | None = None
        self._size = 0

    def at(self, file: PlannedFile, size: int) -> int:
        """Bytes of all files that are there.

        Args:
            file: The file that is coming.
            size: How many of its bytes are there.
        """
        if self._file is not None and self._file.target != file.target:
            self._finished += self._size
        self._file, self._size = file, size
        return self._finished + size


class ProgressLog:
    """Logs a line every so often, for runs that nobody watches.

    Args:
        tally: What adds up.
        every_s: Seconds between lines.
        clock: Tells seconds.
    """

    def __init__(
        self,
        tally: Tally,
        *,
        every_s: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tally = tally
        self._every_s = every_s
        self._clock = clock
        self._last_s = clock()
        self._last_bytes: int | None = None

    def __call__(self, file: PlannedFile, size: int) -> None:
        """Take note of bytes that came.

        Args:
            file: The file that is coming.
            size: How many of its bytes are there.
        """
        done = self._tally.at(file, size)
        if self._last_bytes is None:
            self._last_bytes = done
        elapsed = self._clock() - self._last_s
        if elapsed < self._every_s:
            return
        speed = max(done - self._last_bytes, 0) / elapsed
        logger.info(
            "%s: %s of %s, %s/s",
            file.target.name,
            human_bytes(done),
            human_bytes(self._tally.total),
            human_bytes(round(speed)),
        )
        self._last_s, self._last_bytes = self._clock(), done


def human_bytes(size: int | None, *, exact: bool = True) -> str:
    """Write a size for people, in decimal units.

    Args:
        size: Bytes; null if it is not known.
        exact: Whether it is to the byte; an estimate is marked.
    """
    if size is None:
        return "? B"
    mark = "" if exact else "~"
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= 0.99995 * factor:  # what rounds to 1000.0 of one unit is 1.0 of the next
            return f"{mark}{size / factor:,.1f} {unit}"
    return f"{mark}{size} B"


def describe(file: PlannedFile) -> str:
    """What is there of a file, in words.

    Args:
        file: A planned file.
    """
    if file.standing is Standing.PART:
        return f"{human_bytes(file.present_bytes)} there"
    return file.standing.value
