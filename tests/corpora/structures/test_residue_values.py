from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from biote.corpora.structures.residue_values import read_residue_values
from biote.errors import BioteError


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "predictions.parquet"
    pl.DataFrame(
        {
            "row_id": ["1ABC", "1ABC", "1ABC", "2ABC", "1ABC"],
            "residue": [1, 3, 4, 1, 1],
            "prediction": [0.1, 0.3, 0.4, 0.9, 0.8],
            "model": ["a", "a", "a", "a", "b"],
            "several": [[0.5, 0.6], [0.5], [0.5], [0.5, 0.25, 1.0], [0.5]],
        }
    ).write_parquet(path)
    return path


def read(path: Path, name: str = "1abc", **options: Any) -> list[float]:
    arguments: dict[str, Any] = {
        "length": 5,
        "id_column": "row_id",
        "residue_column": "residue",
        "value_column": "prediction",
        "first_residue": 1,
        "where": ["model=a"],
    }
    found: list[float] = read_residue_values(path, name, **(arguments | options)).tolist()
    return found


def test_values_stand_at_their_residues(table: Path) -> None:
    np.testing.assert_equal(read(table), [0.1, np.nan, 0.3, 0.4, np.nan])
    np.testing.assert_equal(read(table, first_residue=0), [np.nan, 0.1, np.nan, 0.3, 0.4])
    assert read(table, "2ABC", value_column="several", length=3) == [0.5, 0.25, 1.0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"where": []}, "several values for one residue of 1abc.*--where"),
        ({"length": 3}, "residue 4 of 1abc is not in its sequence of 3 residues"),
        ({"first_residue": 2}, "residue 1 of 1abc is not in its sequence.*counted from 2"),
        ({"name": "9xyz"}, "no line for 9xyz"),
        ({"value_column": "score"}, "no column 'score'; its columns are row_id"),
        ({"where": ["model"]}, "--where: 'model'; give COLUMN=VALUE"),
        ({"value_column": "several"}, "3 lines for 1abc"),
        ({"name": "2abc", "value_column": "several"}, "3 values for the 5 residues of 2abc"),
    ],
)
def test_what_does_not_fit_is_refused(table: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(BioteError, match=message):
        read(table, **options)
