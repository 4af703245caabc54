"""Draw how similar test proteins are to the nearest training protein."""

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
    parser.add_argument("fold_files", nargs="+", type=Path, help="fold files to draw together")
    parser.add_argument("--output", type=Path, required=True, help="PNG to write")
    parser.add_argument(
        "--threshold",
        type=float,
        default=1.5,
        help="BLOSUM62 score per residue above which proteins are similar, drawn as a line",
    )
    parser.add_argument(
        "--cache",
        type=Path | None,
        default=None,
        help="folder of alignment scores; by default beside the fold file",
    )


def run(arguments: jsonargparse.Namespace) -> None:
    """Write the picture, and say what it shows.

    Args:
        arguments: Parsed arguments of `add_arguments`.

    Raises:
        BioteError: If a fold file cannot be used.
    """
    from rich.console import Console

    from biote.atomic import atomic_path
    from biote.commands.work_progress import show_progress
    from biote.paths import existing_file
    from biote.report.similarity import similarity_figure
    from biote.splits import load_folds
    from biote.splits.score_cache import CACHE_FOLDER
    from biote.splits.similarity import nearest_training_proteins

    console = Console()
    drawn = {}
    for path in arguments.fold_files:
        existing_file(path, where="FOLD_FILE", mend="check the path")
        folds = load_folds(path)
        with show_progress("aligning", console, count="pairs") as progress:
            nearest = nearest_training_proteins(
                folds, arguments.cache or path.parent / CACHE_FOLDER, progress=progress
            )
        name = f"rule {folds.rule}"
        drawn[name if name not in drawn else f"{name}, {path}"] = nearest
    with atomic_path(arguments.output) as partial:
        similarity_figure(partial, drawn, threshold=arguments.threshold)
    for name, nearest in drawn.items():
        above = sum(pair.score > arguments.threshold for pair in nearest)
        console.print(
            f"{name}: {above:,} of {len(nearest):,} test proteins score above "
            f"{arguments.threshold:g} with a protein outside their fold",
            highlight=False,
            soft_wrap=True,
            markup=False,
        )
    console.print(f"{arguments.output} written", highlight=False, soft_wrap=True, markup=False)
