"""What must hold of the rows of all splits together."""

from __future__ import annotations

from collections.abc import Mapping

from biote.datamodules.rows import SPLITS, Row, Split
from biote.errors import DataError


def refuse_repeated_ids(rows: Mapping[Split, list[Row]]) -> None:
    """Refuse two rows with one id: predictions are joined with rows by their ids.

    Args:
        rows: Rows of every split.

    Raises:
        DataError: If an id is there twice.
    """
    seen: set[str] = set()
    for split in SPLITS:
        for row in rows[split]:
            if row.id in seen:
                raise DataError(
                    f"two rows have the id {row.id}",
                    where=f"{split} rows",
                    mend="give every row an id of its own, or drop the file that is there twice",
                )
            seen.add(row.id)


def refuse_leaks(rows: Mapping[Split, list[Row]]) -> None:
    """Refuse a group or cluster on two sides.

    Args:
        rows: Rows of every split.

    Raises:
        DataError: If a group or a cluster stands in two splits.
    """
    split_of: dict[tuple[str, str], Split] = {}
    for split in SPLITS:
        for row in rows[split]:
            for what, name in (("group", row.group), ("cluster", row.cluster)):
                if name is not None and split_of.setdefault((what, name), split) != split:
                    raise DataError(
                        f"{what} {name} of row {row.id} stands in {split_of[what, name]} and in "
                        f"{split}",
                        where="split",
                        mend=f"give every row of a {what} the same split",
                    )
