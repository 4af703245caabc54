"""The values of one protein's residues from a Parquet table.

Legend: L residues of the protein.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from biote.errors import ConfigError, DataError
from biote.frames import need_columns


def read_residue_values(
    path: Path,
    name: str,
    *,
    length: int,
    id_column: str,
    residue_column: str,
    value_column: str,
    first_residue: int,
    where: Sequence[str] = (),
) -> npt.NDArray[np.float64]:
    """Read the values of one protein.

    Args:
        path: Table with a line for every residue, or one for every protein with a list of values.
        name: Id of the protein; upper and lower case are the same.
        length: Residues of its sequence, L.
        id_column: Column of ids.
        residue_column: Column of residue numbers, where there is a line for every residue.
        value_column: Column of values.
        first_residue: Number of the sequence's first residue.
        where: Conditions ``COLUMN=VALUE`` that lines must meet.

    Returns:
        Value of every residue, (L,); NaN where the table has none.

    Raises:
        ConfigError: If a condition is not of that form.
        DataError: If the table lacks a column or the protein, has several values for a residue, a
            residue outside the sequence, or a list of another length.
    """
    try:
        frame = pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(f"cannot be read ({error})", where=str(path)) from error
    conditions = [_condition(text) for text in where]
    need_columns(frame, [id_column, value_column, *(c for c, _ in conditions)], path)
    ids = pl.col(id_column).cast(pl.String).str.to_uppercase()
    frame = frame.filter(ids == name.upper())
    for column, value in conditions:
        frame = frame.filter(pl.col(column).cast(pl.String) == value)
    if not len(frame):
        raise DataError(
            f"no line for {name}", where=str(path), mend="check --id, --id-column and --where"
        )
    if isinstance(frame.schema[value_column], (pl.List, pl.Array)):
        return _of_list(frame, name, value_column, length, path)
    need_columns(frame, [residue_column], path)
    places = frame[residue_column].cast(pl.Int64).to_numpy() - first_residue
    if places.min() < 0 or places.max() >= length:
        outside = int(places.min() if places.min() < 0 else places.max()) + first_residue
        raise DataError(
            f"residue {outside} of {name} is not in its sequence of {length} residues, counted "
            f"from {first_residue}",
            where=str(path),
            mend="check --first-residue, and that the table is of this structure",
        )
    if len(np.unique(places)) < len(places):
        raise DataError(
            f"several values for one residue of {name}",
            where=str(path),
            mend="choose with --where COLUMN=VALUE, for example the model",
        )
    values = np.full(length, np.nan)
    values[places] = frame[value_column].cast(pl.Float64).to_numpy()
    return values


def _of_list(
    frame: pl.DataFrame, name: str, column: str, length: int, path: Path
) -> npt.NDArray[np.float64]:
    if len(frame) > 1:
        raise DataError(
            f"{len(frame)} lines for {name}", where=str(path), mend="choose with --where"
        )
    values = np.array(frame[column][0].to_list(), np.float64)
    if len(values) != length:
        raise DataError(
            f"{len(values)} values for the {length} residues of {name}",
            where=str(path),
            mend="check that the table is of this structure",
        )
    return values


def _condition(text: str) -> tuple[str, str]:
    column, equals, value = text.partition("=")
    if not equals or not column:
        raise ConfigError(f"{text!r}", where="--where", mend="give COLUMN=VALUE")
    return column, value
