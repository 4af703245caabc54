"""What the commands on structure files print: counts, and the files that were refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from biote.corpora.structures.files import Tally


def show_counts(title: str, numbers: Mapping[str, int], console: Console) -> None:
    """Print counts as a table of two columns.

    Args:
        title: What was counted.
        numbers: Number by name; ``n_`` and underscores are left out.
        console: Where to print.
    """
    table = Table(title=escape(title), show_header=False)
    table.add_column("what")
    table.add_column("number", justify="right")
    for name, number in numbers.items():
        table.add_row(name.removeprefix("n_").replace("_", " "), f"{number:,}")
    console.print(table)


def show_tally(tally: Tally, ledger: Path, console: Console) -> None:
    """Print how many files were refused, and the first of every reason.

    Args:
        tally: What became of the files.
        ledger: Where the refused files are listed.
        console: Where to print.
    """
    console.print(f"refused: {len(tally.refused):,} of {tally.files:,} files", highlight=False)
    for reason, number in Counter(bad.reason for bad in tally.refused).most_common():
        first = next(bad for bad in tally.refused if bad.reason == reason)
        line = escape(f"{reason}, first {first.source} {first.detail}".rstrip())
        console.print(f"  {number:,} x {line}", highlight=False, soft_wrap=True)
    console.print(f"ledger: {escape(str(ledger))}", highlight=False, soft_wrap=True)
