"""Make a corpus of token shards from FASTA, GenBank and Parquet files.

The same command goes on with a preparation that was interrupted.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import jsonargparse


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
        "--drop-duplicates",
        action="store_true",
        help="leave out every record with the same sequence as an earlier one of its molecule type",
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=1,
        help="processes that read and tokenise, each a file, or a block of a large FASTA file",
    )
    parser.add_argument(
        "--scheduler",
        type=str | None,
        default=None,
        help="address of a Dask scheduler whose workers do the work instead, tcp://host:8786 say; "
        "they must see the files by the same paths",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace another corpus that is in the output"
    )


def run(arguments: jsonargparse.Namespace) -> None:
    """Prepare the corpus and show what went in.

    Args:
        arguments: Parsed arguments of `add_arguments`.

    Raises:
        BioteError: If something the user gave cannot be used.
    """
    from rich.console import Console

    from biote.commands.corpus_report import show_corpus
    from biote.commands.work_progress import show_progress
    from biote.corpora.manifest import LEDGER_FILE
    from biote.corpora.prepare import prepare
    from biote.molecules import parse_molecule
    from biote.tokenization import resolve_tokenizer

    molecule = None if arguments.molecule == "auto" else parse_molecule(arguments.molecule)
    tokenizer = resolve_tokenizer(arguments.tokenizer)
    console = Console()
    with show_progress("reading", console) as progress:
        report = prepare(
            arguments.sources,
            arguments.output,
            tokenizer=tokenizer,
            validation_fraction=arguments.validation_fraction,
            fasta_molecule=molecule,
            drop_duplicates=arguments.drop_duplicates,
            workers=arguments.workers,
            scheduler=arguments.scheduler,
            overwrite=arguments.overwrite,
            progress=progress,
        )
    if not report.kept and not report.done:
        console.print("The corpus of these sources and settings is there already.")
    elif report.kept:
        parts = report.kept + report.done
        console.print(f"Went on where it stopped: {report.kept:,} of {parts:,} parts were done.")
    show_corpus(
        report.info,
        report.ledger,
        report.output / LEDGER_FILE,
        console,
        title=f"{report.output}: {len(report.info.sources)} files",
    )
