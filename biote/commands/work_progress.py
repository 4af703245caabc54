"""How far a long piece of work is: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

logger = logging.getLogger(__name__)

_LINE_EVERY_SECONDS: Final = 60.0
_GB: Final = 1e9
_MILLION: Final = 1e6


@contextmanager
def show_progress(
    what: str, console: Console, *, count: str | None = None
) -> Iterator[Callable[[int, int], None]]:
    """Show how many bytes of the input, or things of another kind, are worked through.

    Args:
        what: What is done, for the line.
        console: Where the bar is drawn, if it is a terminal.
        count: What is counted, if not bytes.

    Yields:
        A function to be told the bytes worked through and the bytes there are.
    """
    if not console.is_terminal:
        yield _Lines(what, "GB", _GB) if count is None else _Lines(what, f"M {count}", _MILLION)
        return
    amount = DownloadColumn() if count is None else MofNCompleteColumn()
    columns = TextColumn(what), BarColumn(), amount, TimeRemainingColumn()
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


class _Lines:
    """Logs a line when enough time has passed, so that a job in the background can be watched."""

    def __init__(self, what: str, unit: str, scale: float) -> None:
        self._what = what
        self._unit = unit
        self._scale = scale
        self._last = time.monotonic()
        self._done = 0

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._last < _LINE_EVERY_SECONDS or done == self._done:
            return
        # The pace since the last line: what was done before an interruption took no time.
        left = (now - self._last) * (total - done) / (done - self._done)
        self._last, self._done = now, done
        logger.info(
            "%s: %.2f of %.2f %s, about %.0f min left",
            self._what,
            done / self._scale,
            total / self._scale,
            self._unit,
            left / 60,
        )
