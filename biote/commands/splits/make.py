"""Deal proteins, or clusters of similar ones, into folds and write the fold file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import jsonargparse


def add_arguments(parser: jsonargparse.ArgumentParser) -> None:
    """Declare the command's arguments.

    Args:
        parser: Parser of the command.
    """
    parser.add_argument(
        "source",
        type=Path,
        help="ProNAB's JSON file or the folder with pronab/, a .csv or .parquet table, or a FASTA "
        "file of proteins",
    )
    parser.add_argument("--output", type=Path, required=True, help="fold file to write (Parquet)")
    parser.add_argument(
        "--rule",
        type=Literal["protein", "paper", "cluster"],
        default="cluster",
        help="protein: exact copies stay together (in a table: groups); cluster: similar proteins "
        "stay together; paper: proteins similar to another are in training in every fold",
    )
    parser.add_argument(
        "--threshold",
        type=float,
        default=1.5,
        help="BLOSUM62 score per residue above which proteins are similar",
    )
    parser.add_argument("--folds", type=int, default=10, help="number of folds")
    parser.add_argument("--seed", type=int, default=0, help="decides what meets in a fold")
    parser.add_argument(
        "--duplicates",
        type=Literal["keep", "drop", "mean", "median"],
        default="keep",
        help="ProNAB: rows with the same input, as data.duplicates",
    )
    parser.add_argument(
        "--empty_first_strand",
        type=Literal["drop", "second"],
        default="drop",
        help="ProNAB: rows without a first strand, as data.empty_first_strand",
    )
    parser.add_argument(
        "--sequences",
        type=str,
        nargs="+",
        default=[],
        help="table: sequence columns as NAME:MOLECULE, in the order of data.sequences",
    )
    parser.add_argument(
        "--labels",
        type=str,
        nargs="+",
        default=[],
        help="table: label columns, as data.labels, for a file that runs take",
    )
    parser.add_argument(
        "--kind",
        type=Literal["regression", "classification"],
        default="regression",
        help="table: whether labels are numbers or classes, as data.kind",
    )
    parser.add_argument("--name", type=str, default="table", help="table: its name, as data.name")
    parser.add_argument(
        "--id_column", type=str | None, default=None, help="table: column of unique row ids"
    )
    parser.add_argument(
        "--group_column",
        type=str | None,
        default=None,
        help="table: rows with the same value stay together, too",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace a file that is there already"
    )


def run(arguments: jsonargparse.Namespace) -> None:
    """Write the fold file and show its folds.

    Args:
        arguments: Parsed arguments of `add_arguments`.

    Raises:
        BioteError: If something the user gave cannot be used.
    """
    from rich.console import Console

    from biote.atomic import atomic_path
    from biote.commands.splits.show import show_folds
    from biote.commands.splits.sources import (
        FoldSettings,
        PronabSettings,
        TableSettings,
        make_folds,
    )
    from biote.commands.work_progress import show_progress
    from biote.errors import DataError
    from biote.splits import load_folds

    output: Path = arguments.output
    if output.exists() and not arguments.overwrite:
        raise DataError(
            "is there already",
            where=f"--output {output}",
            mend="name another file, or give --overwrite; runs refuse folds other than their own",
        )
    console = Console()
    with show_progress("aligning", console, count="pairs") as progress, atomic_path(output) as new:
        make_folds(
            arguments.source,
            FoldSettings(
                rule=arguments.rule,
                threshold=arguments.threshold,
                folds=arguments.folds,
                seed=arguments.seed,
                output=new,
            ),
            table=TableSettings(
                sequences=tuple(arguments.sequences),
                labels=tuple(arguments.labels),
                kind=arguments.kind,
                name=arguments.name,
                id_column=arguments.id_column,
                group_column=arguments.group_column,
            ),
            pronab=PronabSettings(
                duplicates=arguments.duplicates, empty_first_strand=arguments.empty_first_strand
            ),
            progress=progress,
        )
    show_folds(load_folds(output), output, None, console)
