"""Tables that a user gives, as CSV or Parquet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from biote.errors import DataError


def read_frame(
    path: Path, *, columns: Sequence[str], text: Sequence[str] | None = None
) -> pl.DataFrame:
    """Read a CSV or Parquet file that has some columns.

    Args:
        path: File, told by its ending.
        columns: Columns that must be there.
        text: Columns of a CSV that are text whatever they look like; null makes all of them text.

    Raises:
        DataError: If it cannot be read, has another ending, or lacks a column.
    """
    try:
        if path.suffix == ".parquet":
            frame = pl.read_parquet(path)
        elif path.suffix != ".csv":
            raise DataError(
                f"ending {path.suffix!r}", where=str(path), mend="give .csv or .parquet"
            )
        elif text is None:
            frame = pl.read_csv(path, infer_schema=False)
        else:
            # A sequence or class may look like a number in the first rows.
            as_text = dict.fromkeys(text, pl.String)
            frame = pl.read_csv(path, schema_overrides=as_text, infer_schema_length=None)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"cannot be read ({error})", where=str(path)) from error
    need_columns(frame, columns, path)
    return frame


def need_columns(frame: pl.DataFrame, names: Sequence[str], path: Path) -> None:
    """Refuse a table that lacks a column.

    Args:
        frame: The table.
        names: Columns that must be there.
        path: Where it was read from.

    Raises:
        DataError: If one is missing.
    """
    for name in names:
        if name not in frame.columns:
            raise DataError(
                f"no column {name!r}",
                where=str(path),
                mend=f"its columns are {', '.join(frame.columns)}",
            )
