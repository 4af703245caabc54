"""Trying again: exponential back-off with jitter, counted from the last progress."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from biote.corpora.download.transport import Interrupted
from biote.errors import DataError

logger = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Retry:
    """How often and after how long something that broke off is tried again."""

    retries: int = 6
    """Attempts after the first, counted anew whenever ``progress_bytes`` more have come."""
    first_wait_s: float = 1.0
    longest_wait_s: float = 120.0
    progress_bytes: int = 1 << 20
    sleep: Callable[[float], None] = time.sleep
    draw: Callable[[], float] = random.random
    """Jitter, from 0 to 1: many clients of one server must not come back at once."""

    def run(
        self,
        operation: Callable[[], T],
        address: str,
        *,
        position: Callable[[], int] | None = None,
        goes_on: Callable[[], bool] | None = None,
    ) -> T:
        """Do something until it goes well.

        Args:
            operation: What to do; raises `Interrupted` if it may go well the next time.
            address: What it reads, for messages.
            position: How many bytes are there; null if no progress can be kept.
            goes_on: Whether a later run can go on after these bytes; null if it cannot.

        Raises:
            DataError: If it went wrong too often.
        """
        failures = 0
        best = position() if position else 0
        while True:
            try:
                return operation()
            except Interrupted as error:
                now = position() if position else 0
                if now >= best + self.progress_bytes:
                    best, failures = now, 0
                failures += 1
                if failures > self.retries:
                    times = "once" if failures == 1 else f"{failures} times"
                    mend = "run the same command again later"
                    if now and goes_on is not None and goes_on():
                        mend += ": it goes on from where it stopped"
                    raise DataError(f"{error} (tried {times})", where=address, mend=mend) from error
                wait = min(self.longest_wait_s, self.first_wait_s * 2 ** (failures - 1))
                wait = max(wait * (0.5 + 0.5 * self.draw()), error.wait_s)
                logger.info("%s: %s; again in %.0f s", address, error, wait)
                self.sleep(wait)
