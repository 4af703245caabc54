from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from biote.splits import homology
from biote.splits.homology import all_scores
from biote.splits.score_cache import cached_scores

PROTEINS = ["MKVLAAGWYRND", "MKVLAAGWYRNE", "GGGPPPSSSTTT", "WWWW"]


def aligned(proteins: list[str], folder: Path) -> bool:
    """Whether the scores had to be computed; they are always checked."""
    told: list[int] = []
    scores = cached_scores(proteins, folder, progress=lambda done, total: told.append(done))
    assert scores.tolist() == all_scores(proteins).tolist()
    return bool(told)


def test_proteins_are_aligned_once_in_whatever_order_they_come(tmp_path: Path) -> None:
    assert aligned(PROTEINS, tmp_path)
    assert not aligned(PROTEINS, tmp_path)
    assert not aligned([*PROTEINS[::-1], PROTEINS[1], PROTEINS[0]], tmp_path)
    assert len(list(tmp_path.iterdir())) == 1


def test_other_proteins_or_another_scoring_are_aligned_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    aligned(PROTEINS, tmp_path)
    assert aligned(PROTEINS[:3], tmp_path)
    assert aligned([*PROTEINS[:3], "WWWV"], tmp_path)
    monkeypatch.setattr("biote.splits.score_cache.SCORING", f"{homology.SCORING}, other")
    assert aligned(PROTEINS, tmp_path)


def test_a_damaged_or_exchanged_file_is_replaced_and_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    aligned(PROTEINS, tmp_path)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[:100])
    assert aligned(PROTEINS, tmp_path)
    assert "cannot be read" in caplog.text
    # A file of as many other proteins under this one's name.
    aligned(["MKV", "MKI", "MKL", "MKA"], tmp_path / "other")
    (other,) = (tmp_path / "other").iterdir()
    path.write_bytes(other.read_bytes())
    assert aligned(PROTEINS, tmp_path)
    assert "holds other scores" in caplog.text
    with caplog.at_level(logging.INFO, logger="biote"):
        assert not aligned(PROTEINS, tmp_path)
    assert "Scores of 4 proteins read" in caplog.text
    stored = pq.read_table(path)["score"].to_numpy()
    assert np.isfinite(stored).all()
    assert len(stored) == 10
