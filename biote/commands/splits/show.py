"""A fold file on the console."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from biote.splits import ALWAYS_TRAIN, FoldAssignment
from biote.splits.similarity import Nearest

_PIPE_WIDTH: Final = 120
"""Columns of a table that is written to a file or a pipe; a terminal has its own width."""


def show_folds(
    folds: FoldAssignment, path: Path, nearest: Sequence[Nearest] | None, console: Console
) -> None:
    """Print a line a fold.

    Args:
        folds: Fold of every row.
        path: Its file.
        nearest: Nearest protein outside the fold of every test protein; None if not aligned.
        console: Where to print.
    """
    if not console.is_terminal:
        console = Console(width=_PIPE_WIDTH)
    title = f"{folds.benchmark}: {folds.folds} folds by {folds.rule}, seed {folds.seed}"
    if folds.threshold is not None:
        title += f", similar above {folds.threshold:g}"
    console.print(title, highlight=False, soft_wrap=True, markup=False)
    table = Table()
    table.add_column("fold")
    for name in ("rows", "groups", "clusters"):
        table.add_column(name, justify="right")
    if nearest is not None:
        for name in ("highest score", "identity", "test row", "nearest row"):
            table.add_column(name, justify="left" if name.endswith("row") else "right")
    for fold in [*range(folds.folds), ALWAYS_TRAIN]:
        rows = [i for i, number in enumerate(folds.assignment) if number == fold]
        if not rows:
            continue
        cells = [
            "in training" if fold == ALWAYS_TRAIN else str(fold),
            f"{len(rows):,}",
            f"{len({folds.groups[i] for i in rows}):,}",
            f"{len({folds.clusters[i] for i in rows}):,}",
        ]
        pairs = [pair for pair in nearest or () if pair.fold == fold]
        if pairs:
            worst = max(pairs, key=lambda pair: pair.score)
            cells += [
                f"{worst.score:.3f}",
                f"{100 * worst.identity:.0f} %",
                escape(worst.row),
                escape(worst.training_row),
            ]
        table.add_row(*cells)
    console.print(table)
    if nearest is not None:
        console.print(
            "highest score: BLOSUM62 per residue, of a test protein with one outside its fold",
            soft_wrap=True,
        )
    console.print(f"{path}: hash {folds.hash}", highlight=False, soft_wrap=True, markup=False)
