"""Write genes and their proteins from annotated GenBank files as a Parquet table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import jsonargparse
    from rich.console import Console

    from biote.corpora.genes.collect import PairReport


def add_arguments(parser: jsonargparse.ArgumentParser) -> None:
    """Declare the command's arguments.

    Args:
        parser: Parser of the command.
    """
    parser.add_argument(
        "sources",
        nargs="+",
        type=Path,
        help="annotated GenBank files, or folders to search for .gb .gbk .gbff .seq .genbank, "
        "also with .gz",
    )
    parser.add_argument("--output", type=Path, required=True, help="Parquet file to write")
    parser.add_argument("--workers", type=int, default=1, help="processes that read, one file each")
    parser.add_argument(
        "--overwrite", action="store_true", help="replace a file that is there already"
    )


def run(arguments: jsonargparse.Namespace) -> None:
    """Write the table and show what went in and what was left out.

    Args:
        arguments: Parsed arguments of `add_arguments`.

    Raises:
        BioteError: If something the user gave cannot be used.
    """
    from rich.console import Console

    from biote.commands.work_progress import show_progress
    from biote.corpora.genes.collect import write_pairs

    console = Console()
    with show_progress("reading", console) as progress:
        report = write_pairs(
            arguments.sources,
            arguments.output,
            workers=arguments.workers,
            overwrite=arguments.overwrite,
            progress=progress,
        )
    show_pairs(report, console)


def show_pairs(report: PairReport, console: Console) -> None:
    """Print the counts, and what was left out by reason.

    Args:
        report: What was written.
        console: Where to print.
    """
    from rich.markup import escape
    from rich.table import Table

    counts = report.counts
    numbers = {
        "files": report.files,
        "records": counts.records,
        "CDS": counts.coding_features,
        "pairs": counts.pairs,
        "with introns": counts.with_introns,
        "CDS left out": counts.skipped.total,
        "bad records": counts.bad_records.total,
    }
    table = Table(title=escape(str(report.output)))
    for name in numbers:
        table.add_column(name, justify="right")
    table.add_row(*(f"{number:,}" for number in numbers.values()))
    console.print(table)
    for kind, tally in (
        ("CDS left out", counts.skipped),
        ("bad records", counts.bad_records),
    ):
        console.print(f"{kind}: {tally.total:,}", highlight=False)
        for reason, number in sorted(tally.numbers.items(), key=lambda item: (-item[1], item[0])):
            example = tally.first[reason]
            where = f"{example.source}:{example.line} {example.record}".rstrip()
            line = escape(f"{reason}, first {where} {example.detail}".rstrip())
            console.print(f"  {number:,} x {line}", highlight=False, soft_wrap=True)
    console.print(f"ledger: {escape(str(report.ledger))}", highlight=False, soft_wrap=True)
