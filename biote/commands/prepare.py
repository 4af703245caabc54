"""Make a corpus of token shards from FASTA, GenBank and Parquet files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import jsonargparse
    from rich.console import Console

    from biote.corpora.prepare import Report


def add_arguments(parser: jsonargparse.ArgumentParser) -> None:
    """Declare the command's arguments.

    Args:
        parser: Parser of the command.
    """
    parser.add_argument(
        "sources",
        nargs="+",
        type=Path,
        help="files, or folders to search for .fa .fasta .faa .fna .gb .gbk .gbff .seq .genbank "
        ".parquet, also with .gz",
    )
    parser.add_argument("--output", type=Path, required=True, help="corpus folder to make")
    parser.add_argument(
        "--tokenizer",
        type=str,
        default="character",
        help="'character', a tokenizer, corpus or encoder folder, a SentencePiece .model, or "
        "nucleic.model,protein.model",
    )
    parser.add_argument(
        "--molecule",
        type=str,
        default="auto",
        help="molecule type of FASTA and Parquet records, for example DNA, mRNA, protein; 'auto' "
        "decides DNA or protein from the letters of every file",
    )
    parser.add_argument(
        "--validation-fraction",
        type=float,
        default=0.005,
        help="share of distinct sequences held out for validation",
    )
    parser.add_argument(
        "--workers", type=int, default=1, help="processes that read and tokenise, one file each"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace a corpus that is in the output folder"
    )


def run(arguments: jsonargparse.Namespace) -> None:
    """Prepare the corpus and show what went in.

    Args:
        arguments: Parsed arguments of `add_arguments`.

    Raises:
        BioteError: If something the user gave cannot be used.
    """
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    from biote.corpora.prepare import prepare
    from biote.molecules import parse_molecule
    from biote.tokenization import resolve_tokenizer

    molecule = None if arguments.molecule == "auto" else parse_molecule(arguments.molecule)
    tokenizer = resolve_tokenizer(arguments.tokenizer)
    console = Console()
    columns = TextColumn("reading"), BarColumn(), DownloadColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("reading", total=None)
        report = prepare(
            arguments.sources,
            arguments.output,
            tokenizer=tokenizer,
            validation_fraction=arguments.validation_fraction,
            fasta_molecule=molecule,
            workers=arguments.workers,
            overwrite=arguments.overwrite,
            progress=lambda read, total: bar.update(task, completed=read, total=total),
        )
    show_report(report, console)


def show_report(report: Report, console: Console) -> None:
    """Print the counts of a corpus, its bad records by reason, and the notes.

    Args:
        report: What the preparation did.
        console: Where to print.
    """
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(f"{report.output}: {len(report.info.sources)} files"))
    table.add_column("molecule")
    fields = ("records", "units", "residues", "tokens", "validation_units")
    for name in fields:
        table.add_column(name.replace("_", " "), justify="right")
    for molecule, counts in report.info.molecules.items():
        table.add_row(molecule.value, *(f"{getattr(counts, name):,}" for name in fields))
    if len(report.info.molecules) > 1:
        totals = (sum(getattr(c, f) for c in report.info.molecules.values()) for f in fields)
        table.add_row("all", *(f"{total:,}" for total in totals), style="bold")
    console.print(table)
    guessed: dict[str, list[str]] = {}
    for source in report.info.sources:
        if source.molecule_guessed and source.molecule is not None:
            guessed.setdefault(source.molecule, []).append(Path(source.file).name)
    for molecule_name, files in guessed.items():
        some = ", ".join(files[:3]) + (f" and {len(files) - 3} more" if len(files) > 3 else "")
        console.print(
            f"read as {molecule_name} by the letters: {escape(some)}",
            highlight=False,
            soft_wrap=True,
        )
    for note in report.info.notes:
        console.print(f"note: {escape(note)}", highlight=False, soft_wrap=True)
    if not report.reasons:
        console.print("no bad records")
        return
    console.print(
        f"{report.info.bad_records:,} bad records, listed in {escape(str(report.ledger))}:",
        highlight=False,
        soft_wrap=True,
    )
    for reason, number in report.reasons.most_common():
        example = next(bad for bad in report.examples if bad.reason == reason)
        where = f"{example.source}:{example.line} {example.record}".rstrip()
        console.print(
            f"  {number:,} x {escape(f'{reason}, first {where}')}", highlight=False, soft_wrap=True
        )
