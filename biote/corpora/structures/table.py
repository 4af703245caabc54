"""A Parquet table with a row for every structure that can be used, its ledger beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from biote.atomic import atomic_path
from biote.corpora.ledger import open_ledger
from biote.corpora.structures.files import (
    LEDGER_SUFFIX,
    Progress,
    Tally,
    refuse_present,
    structure_files,
    use_structures,
)
from biote.corpora.structures.polymers import ReadStructure
from biote.errors import DataError

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Written:
    """A table that was written."""

    rows: list[Row]
    tally: Tally
    ledger: Path


def write_table(
    sources: Sequence[Path],
    output: Path,
    *,
    schema: pa.Schema,
    row: Callable[[ReadStructure, Path], Row],
    wanted: str,
    overwrite: bool,
    progress: Progress,
) -> Written:
    """Read structures and write what is made of them.

    Args:
        sources: Structure files, or folders of them.
        output: Parquet file to write.
        schema: Columns of the table.
        row: Makes the row of a structure, or raises `UnusableStructure`.
        wanted: What a file has to hold, to be told where none does.
        overwrite: Whether a file that is there may be replaced.
        progress: Told the bytes read so far and the bytes there are.

    Raises:
        ConfigError: If the output is there already.
        DataError: If there is no file, or no structure can be used.
    """
    refuse_present(output, overwrite=overwrite)
    paths = structure_files(sources)
    tally = Tally()
    ledger = output.with_name(output.name + LEDGER_SUFFIX)
    with open_ledger(ledger) as note:
        rows = list(use_structures(paths, row, tally=tally, note=note, progress=progress))
    if not rows:
        raise DataError(
            f"none of {tally.files} files holds {wanted}",
            where=str(ledger),
            mend="it lists the reasons",
        )
    with atomic_path(output) as partial:
        pq.write_table(pa.Table.from_pylist(rows, schema), partial, compression="zstd")
    return Written(rows=rows, tally=tally, ledger=ledger)
