"""Write synthetic data that can be learnt, in the real file formats."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from biote.errors import ConfigError, DataError
from biote.synthetic.sizes import Size

if TYPE_CHECKING:
    import jsonargparse
    from rich.console import Console

    from biote.synthetic.dataset import SyntheticCounts


def add_arguments(parser: jsonargparse.ArgumentParser) -> None:
    """Declare the command's arguments.

    Args:
        parser: Parser of the command.
    """
    parser.add_argument("--output", type=Path, required=True, help="folder to write to")
    parser.add_argument("--seed", type=int, default=0, help="decides every letter, from 0")
    parser.add_argument(
        "--size",
        type=Size,
        default="small",
        help="tiny (for tests), small, or demo (2 M nucleotides, 1 M residues, 3,300 measurements)",
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="write into a folder that is not empty; files of the same name are replaced, others "
        "left alone",
    )


def run(arguments: jsonargparse.Namespace) -> None:
    """Write the data and show how much there is.

    Args:
        arguments: Parsed arguments of `add_arguments`.

    Raises:
        ConfigError: If the seed is negative.
        DataError: If the output is a file, or a folder with something in it and ``overwrite`` is
            not set.
    """
    from rich.console import Console

    from biote.synthetic.dataset import write_all

    output: Path = arguments.output
    if arguments.seed < 0:
        raise ConfigError(f"{arguments.seed} is negative", where="--seed", mend="give 0 or more")
    if output.exists() and not output.is_dir():
        raise DataError("is a file", where=f"--output {output}", mend="name a folder")
    if output.is_dir() and any(output.iterdir()) and not arguments.overwrite:
        raise DataError(
            "the folder is not empty",
            where=f"--output {output}",
            mend="name another, or add --overwrite",
        )
    counts = write_all(output, seed=arguments.seed, size=arguments.size)
    show_counts(counts, output, Console())


def show_counts(counts: SyntheticCounts, output: Path, console: Console) -> None:
    """Print what was written.

    Args:
        counts: Counts of `biote.synthetic.dataset.write_all`.
        output: Folder it was written to.
        console: Where to print.
    """
    from rich.markup import escape
    from rich.table import Table

    table = Table("what", title=escape(f"synthetic data in {output}"))
    table.add_column("number", justify="right")
    for name, number in (
        ("GenBank records", counts.nucleic_records),
        ("nucleotides", counts.nucleotides),
        ("bad GenBank records", counts.bad_records),
        ("genes", counts.genes),
        ("proteins", counts.proteins),
        ("residues", counts.residues),
        ("binding proteins", counts.binding_proteins),
        ("binding measurements", counts.binding_rows),
        *((f"  {kind}", number) for kind, number in counts.awkward_rows.items()),
        ("JASPAR profiles", counts.profiles),
        ("table rows", counts.table_rows),
    ):
        table.add_row(name, f"{number:,}")
    console.print(table)
