"""Predicted binding free energy of the pairs in a table, averaged over models.

The models of all folds of a cross-validation together predict better than one of them, for pairs
that none of them was trained on: a protein of the training data is known to all folds but one.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from biote.commands.model_arguments import add_model_arguments

if TYPE_CHECKING:
    import jsonargparse
    import polars as pl

    from biote.datamodules.groups import Parts
    from biote.molecules import Molecule

logger = logging.getLogger(__name__)

MEAN: Final = "delta_g_kcal_mol"
DEVIATION: Final = "delta_g_sd_kcal_mol"
TRIMMED: Final = "trimmed"


def add_arguments(parser: jsonargparse.ArgumentParser) -> None:
    """Declare the command's arguments.

    Args:
        parser: Parser of the command.
    """
    add_model_arguments(parser)
    parser.add_argument(
        "--table", type=Path, required=True, help="CSV or Parquet file, a pair a row"
    )
    parser.add_argument(
        "--sequences",
        type=str,
        nargs="+",
        default=["protein=protein", "strand=DNA"],
        help="columns and what stands in them, in the order of training: protein=protein "
        "strand=DNA second=DNA; an empty cell leaves the sequence out",
    )
    parser.add_argument(
        "--double_stranded",
        action="store_true",
        help="put the reverse complement of each DNA behind it, as the second strand",
    )
    parser.add_argument(
        "--output", type=Path, required=True, help="CSV or Parquet file to write, by its ending"
    )


def run(arguments: jsonargparse.Namespace) -> None:
    """Score the pairs and write them with their predictions.

    Args:
        arguments: Parsed arguments of `add_arguments`.

    Raises:
        BioteError: If something the user gave cannot be used.
    """
    import numpy as np
    import polars as pl

    from biote.atomic import atomic_path
    from biote.commands.binding_model import BindingModel
    from biote.errors import ConfigError
    from biote.frames import read_frame
    from biote.paths import existing_file

    if arguments.output.suffix not in (".csv", ".parquet"):
        raise ConfigError(
            f"ending {arguments.output.suffix!r}", where="--output", mend="give .csv or .parquet"
        )
    columns = _columns(arguments.sequences)
    names = [name for name, _ in columns]
    existing_file(arguments.table, where="--table", mend="give a CSV or Parquet file")
    frame = read_frame(arguments.table, columns=names, text=names)
    parts = _rows(frame, columns, arguments.table, double_stranded=arguments.double_stranded)
    models = [BindingModel(path, arguments.tokenizer) for path in arguments.checkpoint]
    predicted = np.stack([model.delta_g_kcal_mol(parts) for model in models])  # (models, rows)
    trimmed = [any(model.trimmed(row) for model in models) for row in parts]
    deviation = predicted.std(axis=0, ddof=1) if len(models) > 1 else [None] * len(parts)
    scored = frame.with_columns(
        pl.Series(MEAN, predicted.mean(axis=0)),
        pl.Series(DEVIATION, deviation, dtype=pl.Float64),
        pl.Series(TRIMMED, trimmed, dtype=pl.Boolean),
    )
    with atomic_path(arguments.output) as partial:
        if arguments.output.suffix == ".csv":
            scored.write_csv(partial)
        else:
            scored.write_parquet(partial)
    if any(trimmed):
        logger.warning("%d proteins are cut to fit the context of a model.", sum(trimmed))
    logger.info(
        "%d pairs, mean of %d model%s: %s.",
        len(parts),
        len(models),
        "s" if len(models) > 1 else "",
        arguments.output,
    )


def _columns(given: Sequence[str]) -> list[tuple[str, Molecule]]:
    """Names of columns and their molecule types."""
    from biote.errors import ConfigError
    from biote.molecules import parse_molecule

    columns = []
    for text in given:
        name, equals, molecule = text.rpartition("=")
        if not equals or not name:
            raise ConfigError(
                f"{text!r} names no molecule", where="--sequences", mend="write column=molecule"
            )
        columns.append((name, parse_molecule(molecule)))
    return columns


def _rows(
    frame: pl.DataFrame, columns: Sequence[tuple[str, Molecule]], path: Path, *,
    double_stranded: bool,
) -> list[Parts]:  # fmt: skip
    """Sequences of every row in their order."""
    from biote.errors import DataError
    from biote.molecules import Molecule, canonical_sequence, reverse_complement

    rows: list[Parts] = []
    values: dict[str, Any]
    for number, values in enumerate(frame.iter_rows(named=True)):
        where = f"{path}, row {number}"
        parts = []
        for name, molecule in columns:
            if values[name] in (None, ""):
                continue
            sequence = canonical_sequence(str(values[name]), molecule, record=where)
            parts.append((sequence, molecule))
            if double_stranded and molecule is Molecule.DNA:
                parts.append((reverse_complement(sequence), molecule))
        if not parts:
            raise DataError("no sequence at all", where=where, mend="drop the row")
        rows.append(tuple(parts))
    if not rows:
        raise DataError("no rows", where=str(path), mend="give a pair a row")
    return rows
