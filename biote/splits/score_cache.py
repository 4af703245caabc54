"""Alignment scores kept on disk, so that a set of proteins is aligned once.

File: Parquet, one column ``score``: the upper triangle of the score matrix of the distinct
proteins in alphabetical order, row by row, the diagonal with it. Its name and its metadata hold
the hash of the proteins and of the scoring.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from biote.atomic import atomic_path
from biote.splits.homology import SCORING, Floats, OnPairs, all_scores

logger = logging.getLogger(__name__)

CACHE_FOLDER: Final = "alignment_scores"
"""Name of the folder beside a fold file that keeps the scores of its proteins."""


def cached_scores(
    sequences: Sequence[str],
    folder: Path,
    *,
    workers: int | None = None,
    progress: OnPairs | None = None,
) -> Floats:
    """Score every protein against every other, or read what was scored before.

    Args:
        sequences: N proteins, in any order, repeats allowed.
        folder: Folder of score files; made if it is not there.
        workers: Threads; None for one a core.
        progress: Is told pairs done and pairs in all; not if they are read.

    Returns:
        Scores per residue as `biote.splits.homology.all_scores` gives them, (N, N).

    Raises:
        DataError: If a sequence is empty or no protein.
    """
    distinct = sorted(set(sequences))
    key = _key(distinct)
    path = folder / f"{key[:32]}.parquet"
    n = len(distinct)
    upper = np.triu_indices(n)
    stored = _read(path, key, len(upper[0]))
    if stored is None:
        logger.info("Aligning %d proteins, each with each.", n)
        scores = all_scores(distinct, workers=workers, progress=progress)
        _write(path, key, scores[upper])
    else:
        logger.info("Scores of %d proteins read from %s.", n, path)
        scores = np.empty((n, n), np.float64)
        scores[upper] = scores.T[upper] = stored
    place = {sequence: i for i, sequence in enumerate(distinct)}
    order = np.array([place[sequence] for sequence in sequences], np.int64)
    return scores[np.ix_(order, order)]


def _key(distinct: Sequence[str]) -> str:
    return hashlib.sha256("\n".join([SCORING, *distinct]).encode()).hexdigest()


def _read(path: Path, key: str, number: int) -> Floats | None:
    if not path.exists():
        return None
    try:
        table = pq.read_table(path)
        stored = np.asarray(table["score"].to_numpy(), np.float64)
        found = (table.schema.metadata or {}).get(b"key", b"").decode()
    except (pa.ArrowInvalid, OSError, KeyError) as error:
        logger.warning("%s cannot be read (%s): its proteins are aligned again.", path, error)
        return None
    if found != key or len(stored) != number or not np.isfinite(stored).all():
        logger.warning("%s holds other scores: its proteins are aligned again.", path)
        return None
    return stored


def _write(path: Path, key: str, scores: Floats) -> None:
    table = pa.table({"score": scores}, metadata={"key": key, "scoring": SCORING})
    with atomic_path(path) as partial:
        pq.write_table(table, partial)
