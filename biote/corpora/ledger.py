"""The ledger of a corpus: one JSON line for every record that could not be used."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from biote.atomic import atomic_path
from biote.corpora.records import BadRecord
from biote.errors import DataError

EXAMPLES_PER_REASON: Final = 3


@dataclass(frozen=True)
class LedgerSummary:
    """What a ledger lists."""

    reasons: Counter[str]
    """Number of bad records by reason."""
    examples: tuple[BadRecord, ...]
    """The first few bad records of every reason."""


@contextmanager
def open_ledger(path: Path) -> Iterator[Callable[[BadRecord], None]]:
    """Open a ledger to write to; it is there when the block ends well.

    Args:
        path: File to write.

    Yields:
        A function that adds a line.
    """
    with atomic_path(path) as partial, partial.open("w", encoding="utf-8") as stream:

        def note(bad: BadRecord) -> None:
            content = asdict(bad)
            line = json.dumps(content, ensure_ascii=False)
            try:
                line.encode()
            except UnicodeEncodeError:  # the name of a file that is no UTF-8
                line = json.dumps(content)
            stream.write(line + "\n")

        yield note


def join_ledgers(parts: Iterable[Path], path: Path) -> None:
    """Write several ledgers as one.

    Args:
        parts: Files of the ledgers, in order.
        path: File to write.
    """
    with atomic_path(path) as partial, partial.open("wb") as ledger:
        for part in parts:
            with part.open("rb") as stream:
                while block := stream.read(1 << 20):
                    ledger.write(block)


def read_ledger(path: Path) -> Iterator[BadRecord]:
    """Yield the lines of a ledger.

    Args:
        path: Ledger file.

    Raises:
        DataError: If a line is not one of a ledger.
    """
    with path.open(encoding="utf-8") as stream:
        for number, line in enumerate(stream, 1):
            try:
                yield BadRecord(**json.loads(line))
            except (ValueError, TypeError) as error:
                raise DataError(
                    "not a line of a ledger", where=f"{path}:{number}", mend="copy the file again"
                ) from error


def summarise(lines: Iterable[BadRecord]) -> LedgerSummary:
    """Count bad records by reason.

    Args:
        lines: Lines of a ledger.
    """
    reasons: Counter[str] = Counter()
    examples: dict[str, list[BadRecord]] = {}
    for bad in lines:
        reasons[bad.reason] += 1
        if reasons[bad.reason] <= EXAMPLES_PER_REASON:
            examples.setdefault(bad.reason, []).append(bad)
    return LedgerSummary(reasons, tuple(bad for some in examples.values() for bad in some))
