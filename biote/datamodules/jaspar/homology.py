"""Proteins that are too similar to those a model was trained on.

File: Parquet, columns ``query`` and ``score``: SHA-256 of a protein and its best score against
the references; the metadata hold the hash of references and scoring.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from biote.atomic import atomic_path
from biote.corpora.fasta import read_fasta
from biote.corpora.records import BadRecord
from biote.errors import DataError
from biote.molecules import Modality, Molecule, canonical_bytes
from biote.paths import existing_file
from biote.splits.homology import SCORING, OnPairs, best_scores

logger = logging.getLogger(__name__)

_WRITTEN_AT_ONCE: Final = 256
"""Proteins whose scores are kept together: an interrupted alignment goes on after them."""


def training_proteins(path: Path, *, where: str = "data.trained_on") -> list[str]:
    """All proteins of a training set, sorted.

    Args:
        path: Data folder with ``pronab/pronab_no_mutations.json``, a file like it, or FASTA.
        where: Configuration key or option that the path comes from.

    Raises:
        DataError: If there is no such file or no protein in it.
    """
    if path.is_dir():
        path = path / "pronab" / "pronab_no_mutations.json"
    existing_file(
        path,
        where=where,
        mend="give the data folder, the ProNAB file, or a FASTA file of the training proteins",
    )
    if path.name.removesuffix(".gz").endswith(".json"):
        try:
            entries = json.loads(path.read_text()).values()
            found = {entry["Sequence"] for entry in entries}
        except (ValueError, AttributeError, TypeError, KeyError) as error:
            raise DataError(f"not a ProNAB file ({error})", where=str(path)) from error
        sequences = {sequence for sequence in found if sequence}
    else:
        sequences = _fasta(path)
    if not sequences:
        raise DataError("no protein in it", where=str(path))
    return sorted(sequences)


def similarity(
    queries: Sequence[str],
    references: Sequence[str],
    *,
    cache: Path,
    progress: OnPairs | None = None,
) -> dict[str, float]:
    """Best score of every protein against any reference; see `biote.splits.homology`.

    Args:
        queries: Proteins, repeats allowed.
        references: Proteins they are compared with.
        cache: File that keeps the scores; proteins that are not in it are aligned and added.
        progress: Is told pairs done and pairs in all.

    Returns:
        Score by protein.

    Raises:
        DataError: If a sequence is empty or no protein.
    """
    distinct = sorted(set(queries))
    key = hashlib.sha256("\n".join([SCORING, *sorted(set(references))]).encode()).hexdigest()
    known = _read(cache, key)
    new = [query for query in distinct if _digest(query) not in known]
    if new:
        logger.info("Aligning %d proteins with %d.", len(new), len(set(references)))
    ordered, pairs = sorted(set(references)), len(new) * len(set(references))
    for start in range(0, len(new), _WRITTEN_AT_ONCE):
        some = new[start : start + _WRITTEN_AT_ONCE]
        scores = best_scores(some, ordered).scores
        known |= {_digest(query): float(score) for query, score in zip(some, scores, strict=True)}
        _write(cache, key, known)
        done = start + len(some)
        logger.info("%d of %d proteins aligned.", done, len(new))
        if progress is not None:
            progress(done * len(ordered), pairs)
    return {query: known[_digest(query)] for query in distinct}


def _digest(sequence: str) -> str:
    return hashlib.sha256(sequence.encode()).hexdigest()


def _read(path: Path, key: str) -> dict[str, float]:
    if not path.exists():
        return {}
    try:
        table = pq.read_table(path)
        queries, scores = table["query"].to_pylist(), table["score"].to_numpy()
        there = (table.schema.metadata or {}).get(b"key", b"").decode()
    except (pa.ArrowInvalid, OSError, KeyError) as error:
        logger.warning("%s cannot be read (%s): proteins are aligned again.", path, error)
        return {}
    if there != key or not np.isfinite(scores).all():
        logger.warning("%s holds scores against other proteins: they are made again.", path)
        return {}
    return dict(zip(queries, scores.tolist(), strict=True))


def _write(path: Path, key: str, scores: dict[str, float]) -> None:
    table = pa.table(
        {
            "query": pa.array(list(scores), pa.string()),
            "score": pa.array(list(scores.values()), pa.float64()),
        },
        metadata={"key": key, "scoring": SCORING},
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as partial:
        pq.write_table(table, partial)


def _fasta(path: Path) -> set[str]:
    sequences: set[str] = set()
    for record in read_fasta(path, Molecule.PROTEIN):
        if isinstance(record, BadRecord):
            raise DataError(
                record.reason, where=f"{path}:{record.line}", mend="mend the file: every protein "
                "that is missing here is one whose relatives are not left out"
            )  # fmt: skip
        letters = canonical_bytes(bytes(record.sequence), Modality.PROTEIN, record=record.id)
        sequences.add(letters.decode())
    return sequences
