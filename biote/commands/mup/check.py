"""Check that activations keep their size when the model is made wider.

Small masked language models of several widths are trained for a few steps on the same batches, in
muP and in standard parametrisation, and the mean absolute size of every activation is measured
before each step. The output folder gets a table, coordinate_check.parquet, and a picture,
coordinate_check.png. Exit code 1 says that the sizes in muP depend on the width.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from biote.synthetic.sizes import Size

if TYPE_CHECKING:
    from collections.abc import Sequence

    import jsonargparse
    import polars as pl
    from rich.console import Console

    from biote.batch import MaskedBatch

TABLE_FILE = "coordinate_check.parquet"
PICTURE_FILE = "coordinate_check.png"

_NOT_FLAT = 1
_CONTEXT = 256
_TOKENS_PER_STEP = 1_024


def add_arguments(parser: jsonargparse.ArgumentParser) -> None:
    """Declare the command's arguments.

    Args:
        parser: Parser of the command.
    """
    parser.add_argument(
        "--corpus",
        type=Path,
        nargs="+",
        default=None,
        help="corpus folders, of one tokenizer; without them synthetic data are made",
    )
    parser.add_argument(
        "--output", type=Path, default=Path("runs/mup"), help="folder of table and picture"
    )
    parser.add_argument(
        "--widths", type=int, nargs="+", default=[32, 64, 128, 256], help="multiples of 32"
    )
    parser.add_argument("--layers", type=int, default=2, help="blocks of every model")
    parser.add_argument("--steps", type=int, default=5, help="optimiser steps")
    parser.add_argument("--lr", type=float, default=0.01, help="learning rate, at every step")
    parser.add_argument("--seeds", type=int, default=3, help="models of every width")
    parser.add_argument(
        "--tolerance",
        type=float,
        default=0.25,
        help="steepest slope of log size against log width, mean over steps, that is flat",
    )


def run(arguments: jsonargparse.Namespace) -> None:
    """Train, measure, write table and picture, and judge.

    Args:
        arguments: Parsed arguments of `add_arguments`.

    Raises:
        BioteError: If something the user gave cannot be used.
        SystemExit: With code 1, if the sizes in muP depend on the width.
    """
    import sys
    from dataclasses import asdict

    import polars as pl
    from rich.console import Console

    from biote.atomic import atomic_path
    from biote.report.mup import coordinate_figure
    from biote.tasks.coordinate_check import PARAMETRISATIONS, is_flat, mean_slopes, measure, slopes

    widths = _checked_widths(arguments)
    console = Console()
    output: Path = arguments.output
    if arguments.corpus is None:
        console.print("No --corpus: making synthetic data")
        folders = [synthetic_corpus(output / "synthetic", size="tiny")]
    else:
        folders = arguments.corpus
    batches, vocab_size = _batches(folders, steps=arguments.steps)
    sizes = pl.DataFrame(
        [
            asdict(size)
            for parametrisation in PARAMETRISATIONS
            for width in widths
            for seed in range(arguments.seeds)
            for size in measure(
                batches,
                parametrisation=parametrisation,
                width=width,
                layers=arguments.layers,
                vocab_size=vocab_size,
                lr=arguments.lr,
                seed=seed,
            )
        ]
    )
    with atomic_path(output / TABLE_FILE) as partial:
        sizes.write_parquet(partial)
    coordinate_figure(
        output / PICTURE_FILE,
        sizes,
        subtitle=f"{arguments.layers} layers, learning rate {arguments.lr:g}, "
        f"mean of {arguments.seeds} seeds",
    )
    found = slopes(sizes)
    flat = {}
    for name in PARAMETRISATIONS:
        part = found.filter(pl.col("parametrisation") == name)
        _show_slopes(part, name, console)
        flat[name] = is_flat(part, tolerance=arguments.tolerance)
        steepest = mean_slopes(part).row(0, named=True)
        console.print(
            f"{_name(name)}: {'flat' if flat[name] else 'not flat'}. Steepest: "
            f"{steepest['activation']}, mean slope {steepest['slope']:+.2f} "
            f"(flat: up to {arguments.tolerance:g} either way)",
            highlight=False,
            soft_wrap=True,
        )
    console.print(f"{output / TABLE_FILE}, {output / PICTURE_FILE}", soft_wrap=True)
    if not flat["mup"]:
        sys.exit(_NOT_FLAT)


def _checked_widths(arguments: jsonargparse.Namespace) -> list[int]:
    """The widths in order, when every number can be used."""
    from biote.errors import ConfigError
    from biote.tasks.parametrisation import HEAD_WIDTH

    widths = sorted(set(arguments.widths))
    for width in widths:
        if width < 1 or width % HEAD_WIDTH:
            raise ConfigError(
                f"{width} is not a number of heads of {HEAD_WIDTH} features",
                where="--widths",
                mend=f"give multiples of {HEAD_WIDTH}",
            )
    if len(widths) < 2:
        raise ConfigError("one width has no slope", where="--widths", mend="give two or more")
    for name in ("layers", "steps", "lr", "seeds", "tolerance"):
        if not getattr(arguments, name) > 0:  # NaN is refused too
            raise ConfigError(
                f"{getattr(arguments, name)} cannot be used",
                where=f"--{name}",
                mend="give a positive number",
            )
    return widths


def _batches(folders: Sequence[Path], *, steps: int) -> tuple[list[MaskedBatch], int]:
    """A batch for every step and one to measure after the last, and the size of the vocabulary."""
    from itertools import islice

    from biote.datamodules.pretraining import CorpusSource, PretrainingDataModule

    data = PretrainingDataModule(
        [CorpusSource(folder=folder) for folder in folders],
        _CONTEXT,
        # A step never has more tokens than this, so the budget is enough for all of them.
        tokens=(steps + 1) * _TOKENS_PER_STEP,
        tokens_per_step=_TOKENS_PER_STEP,
    )
    return list(islice(data.train_dataloader(), steps + 1)), data.vocab_size


def _show_slopes(slopes: pl.DataFrame, parametrisation: str, console: Console) -> None:
    from rich.table import Table

    steps = sorted(slopes["step"].unique().to_list())
    table = Table(title=f"{_name(parametrisation)}: slope by step")
    table.add_column("activation")
    for step in steps:
        table.add_column(str(step), justify="right")
    for (activation,), part in slopes.group_by("activation", maintain_order=True):
        values = part.sort("step")["slope"].to_list()
        table.add_row(str(activation), *(f"{value:+.2f}" for value in values))
    console.print(table)


def _name(parametrisation: str) -> str:
    from biote.report.mup import TITLES

    return TITLES[parametrisation]


def synthetic_corpus(folder: Path, *, size: Size) -> Path:
    """Make a corpus of synthetic nucleic acids and proteins in characters.

    Args:
        folder: Folder for the data and the corpus; a corpus of that size that is there is kept.
        size: How much.

    Returns:
        The corpus folder.
    """
    from biote.corpora.prepare import prepare
    from biote.synthetic.dataset import write_all
    from biote.tokenization import CharacterTokenizer

    corpus = folder / size / "corpus"
    if not (corpus / "corpus.json").is_file():
        data = folder / size / "data"
        write_all(data, seed=0, size=size)
        # Without genbank/awkward, whose faulty records every preparation would report.
        kinds = ("bacteria", "eukaryotes", "molecule_types")
        sources = [data / "fasta", *(data / "genbank" / kind for kind in kinds)]
        prepare(sources, corpus, tokenizer=CharacterTokenizer(), validation_fraction=0.05)
    return corpus
