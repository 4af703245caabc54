"""Write C-alpha coordinates of single proteins in PDB and mmCIF files as Parquet."""

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
        help="PDB or mmCIF files of one protein chain without nucleic acid, or folders to search "
        "for .cif .mmcif .pdb .ent, also with .gz",
    )
    parser.add_argument("--output", type=Path, required=True, help="Parquet file to write")
    parser.add_argument(
        "--least-residues", type=int, default=20, help="refuse structures with a shorter protein"
    )
    parser.add_argument(
        "--min-separation",
        type=int,
        default=12,
        help="residues between the pairs that are counted in what is shown",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace a file that is there already"
    )


def run(arguments: jsonargparse.Namespace) -> None:
    """Write the table and show what went in and what was refused.

    Args:
        arguments: Parsed arguments of `add_arguments`.

    Raises:
        BioteError: If something the user gave cannot be used.
    """
    from rich.console import Console

    from biote.commands.structure_report import show_counts, show_tally
    from biote.commands.work_progress import show_progress
    from biote.corpora.structures.maps import write_maps

    console = Console()
    with show_progress("reading", console) as progress:
        report = write_maps(
            arguments.sources,
            arguments.output,
            least_residues=arguments.least_residues,
            min_separation=arguments.min_separation,
            overwrite=arguments.overwrite,
            progress=progress,
        )
    numbers = {
        "proteins": report.tally.used,
        "residues": report.residues,
        "unresolved": report.unresolved,
        f"pairs at least {arguments.min_separation} apart": report.pairs,
        "contacts of them": report.contacts,
    }
    show_counts(str(report.output), numbers, console)
    show_tally(report.tally, report.ledger, console)
