"""Check a fold file, and align its test proteins with the others."""

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
    parser.add_argument("fold_file", type=Path, help="fold file")
    parser.add_argument(
        "--align",
        action="store_true",
        help="align the proteins, show the highest score across each fold's border, and refuse "
        "the file if one is above the threshold",
    )
    parser.add_argument(
        "--threshold",
        type=float | None,
        default=None,
        help="score above which proteins are similar; by default that of the file, and none for "
        "rule protein",
    )
    parser.add_argument(
        "--cache",
        type=Path | None,
        default=None,
        help="folder of alignment scores; by default beside the fold file",
    )


def run(arguments: jsonargparse.Namespace) -> None:
    """Check hash, groups and clusters, and the alignments if asked.

    Args:
        arguments: Parsed arguments of `add_arguments`.

    Raises:
        BioteError: If the file is damaged or edited, or training would see test data.
    """
    from rich.console import Console

    from biote.commands.splits.show import show_folds
    from biote.commands.work_progress import show_progress
    from biote.errors import ConfigError
    from biote.paths import existing_file
    from biote.splits import load_folds
    from biote.splits.score_cache import CACHE_FOLDER
    from biote.splits.similarity import nearest_training_proteins, refuse_similar

    path = existing_file(arguments.fold_file, where="FOLD_FILE", mend="check the path")
    if arguments.threshold is not None and not arguments.align:
        raise ConfigError("scores need an alignment", where="--threshold", mend="give --align, too")
    folds = load_folds(path)
    console = Console()
    if not arguments.align:
        show_folds(folds, path, None, console)
        return
    with show_progress("aligning", console, count="pairs") as progress:
        nearest = nearest_training_proteins(
            folds, arguments.cache or path.parent / CACHE_FOLDER, progress=progress
        )
    show_folds(folds, path, nearest, console)
    threshold = folds.threshold if arguments.threshold is None else arguments.threshold
    if threshold is not None:
        refuse_similar(folds, nearest, threshold=threshold, where=str(path))
