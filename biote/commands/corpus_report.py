"""What a corpus holds, as a table and lines on the console."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rich.console import Console

    from biote.corpora.ledger import LedgerSummary
    from biote.corpora.manifest import CorpusInfo

_FILES_NAMED: Final = 3


def show_corpus(
    info: CorpusInfo, ledger: LedgerSummary, ledger_path: Path, console: Console, *, title: str
) -> None:
    """Print the counts of a corpus, its notes, and its bad records by reason.

    Args:
        info: Description of the corpus.
        ledger: What its ledger lists.
        ledger_path: File of the ledger.
        console: Where to print.
        title: Line above the table.
    """
    from rich.markup import escape
    from rich.measure import Measurement
    from rich.table import Table

    def line(text: str) -> None:
        console.print(escape(text), highlight=False, soft_wrap=True)

    line(title)
    table = Table()
    rows = count_rows(info)
    table.add_column("molecule", no_wrap=True)
    for name in rows[0][1]:
        table.add_column(name.replace("_", " "), justify="right", no_wrap=True)
    for molecule, counts in rows:
        table.add_row(
            molecule,
            *(
                f"{count:.2f}" if isinstance(count, float) else f"{count:,}"
                for count in counts.values()
            ),
            style="bold" if molecule == "all" else None,
        )
    # As wide as the numbers need, or a table in a log would lose digits.
    wide = console.options.update(max_width=10_000)
    table.width = Measurement.get(console, wide, table).maximum
    console.print(table, soft_wrap=True)
    guessed: dict[str, list[str]] = {}
    for source in info.sources:
        if source.molecule_guessed and source.molecule is not None:
            guessed.setdefault(source.molecule, []).append(Path(source.file).name)
    for name, files in guessed.items():
        some = ", ".join(files[:_FILES_NAMED])
        if len(files) > _FILES_NAMED:
            some += f" and {len(files) - _FILES_NAMED:,} more"
        line(f"read as {name} by the letters: {some}")
    for note in info.notes:
        line(f"note: {note}")
    if not ledger.reasons:
        line("no bad records")
        return
    line(f"{ledger.reasons.total():,} bad records, listed in {ledger_path}:")
    for reason, number in ledger.reasons.most_common():
        example = next(bad for bad in ledger.examples if bad.reason == reason)
        where = f"{example.source}:{example.line} {example.record}".rstrip()
        line(f"  {number:,} x {reason}, first {where}")


def count_rows(info: CorpusInfo) -> list[tuple[str, dict[str, int | float]]]:
    """Counts of every molecule type, and of all if there are several.

    Args:
        info: Description of the corpus.

    Returns:
        Molecule type with its counts: records, residues (or bases) and their share of all in
        percent, tokens, units, validation units, and records dropped as duplicates.
    """
    every = list(info.molecules.items())
    residues = sum(counts.residues for _, counts in every)
    rows: list[tuple[str, dict[str, int | float]]] = [
        (
            molecule.value,
            {
                "records": counts.records,
                "residues": counts.residues,
                "share_percent": 100.0 * counts.residues / max(residues, 1),
                "tokens": counts.tokens,
                "units": counts.units,
                "validation_units": counts.validation_units,
                "duplicates": counts.duplicates,
            },
        )
        for molecule, counts in every
    ]
    if len(rows) > 1:
        total = {name: sum(counts[name] for _, counts in rows) for name in rows[0][1]}
        rows.append(("all", total | {"share_percent": 100.0}))
    return rows
